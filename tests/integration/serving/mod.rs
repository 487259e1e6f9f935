//! What holds for every door: health, limits, headers, sign-in, the command line.

mod commands;
mod health;
mod sign_in;
mod traffic;
