mod any;
mod forwards;
mod holds;
mod pauses;
mod planning;
mod recovery;
mod standing;
mod world;
