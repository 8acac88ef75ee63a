//! Real programs: every journey that a version can make is made with nginx and with HAProxy; unbound has one of its own.

mod haproxy;
mod journeys;
mod nginx;
mod program;
mod several;
mod site;
mod systemd;
mod unbound;
