//! Real programs: every journey that a version can make is made with nginx and with HAProxy.

mod haproxy;
mod journeys;
mod nginx;
mod program;
mod several;
mod site;
mod systemd;
