//! What is hostile: whoever answers in the service's place, commands that are started, the machine around.

mod answers;
mod commands;
mod machine;
mod many;
mod peer;
