//! The registry door on a real listener: by plain HTTP calls, and with the clients people use.

mod access;
mod clients;
mod door;
mod errors;
mod pushes;
mod uploads;
