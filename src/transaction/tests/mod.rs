mod forwards;
mod pauses;
mod world;
