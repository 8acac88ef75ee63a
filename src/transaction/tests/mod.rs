mod any;
mod forwards;
mod pauses;
mod planning;
mod recovery;
mod standing;
mod world;
