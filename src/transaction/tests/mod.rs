mod any;
mod forwards;
mod pauses;
mod recovery;
mod standing;
mod world;
