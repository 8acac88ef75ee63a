mod forwards;
mod pauses;
mod recovery;
mod world;
