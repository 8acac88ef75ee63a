mod forwards;
mod world;
