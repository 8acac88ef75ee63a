//! What a daemon costs that has nothing to do: memory, processor time, wake-ups.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::process::Process;
use crate::table::{Row, median};
use crate::world::{self, Shape, TELL, Told, World};

const LIMIT: Duration = Duration::from_secs(180);
/// After the last file, until nothing of the start is left to do.
const SETTLES: Duration = Duration::from_secs(5);

/// A started daemon, its server, and the world of both.
struct Running {
    daemon: Process,
    server: Process,
    address: String,
    world: World,
}

impl Running {
    fn start(
        plan: &Plan,
        count: usize,
        interval: &'static str,
        told: Told,
    ) -> Result<Running, String> {
        let world = World::new(plan);
        world.deploy(count, 1);
        let (server, address) = world.serve();
        let shape = Shape {
            targets: count,
            profiles: count,
            interval,
            told,
        };
        world.settings(&address, &shape, TELL, "");
        let daemon = world.run();
        if world.wait(&shape, 1, Instant::now(), LIMIT).is_none() {
            return Err(format!("not started within {LIMIT:?}"));
        }
        sleep(SETTLES);
        Ok(Running {
            daemon,
            server,
            address,
            world,
        })
    }
}

/// Memory after the start, then for a minute, and the processor time of that minute.
pub fn memory(plan: &Plan) -> Vec<Row> {
    let shapes = [
        (1, Told::One, 14.0),
        (1_000, Told::One, 25.0),
        (1_000, Told::Nobody, 25.0),
        (10_000, Told::One, 60.0),
        (10_000, Told::Nobody, 60.0),
    ];
    let mut rows = Vec::new();
    for (count, told, budget) in shapes {
        let queues = match told {
            Told::One => "one service",
            Told::Nobody => "a queue each",
        };
        let what = format!("{count} profiles, {queues}");
        let running = match Running::start(plan, count, "60s", told) {
            Ok(running) => running,
            Err(why) => {
                rows.push(Row::failed(format!("memory, {what}"), "MB", why).within(budget));
                continue;
            }
        };
        let after = running.daemon.memory();
        let (since, before) = (Instant::now(), running.daemon.processor());
        let polled = world::polls(&running.address);
        sleep(plan.pick(Duration::from_secs(70), Duration::from_secs(5)));
        let spent = running.daemon.processor() - before;
        let a_second = spent.as_secs_f64() / since.elapsed().as_secs_f64() * 1_000.0;
        let later = running.daemon.memory();
        let polled = world::polls(&running.address) - polled;
        let resident = Row::new(
            format!("memory, {what}"),
            "MB",
            later.resident.max(after.resident),
        );
        rows.push(resident.within(budget).beside(format!(
            "{:.1} after the start; {:.1} of it heap and stacks; {} threads",
            after.resident, later.anonymous, later.threads
        )));
        // A quick look sees no poll, and would say nothing.
        if !plan.quick {
            let row = Row::new(
                format!("processor, {what}, a poll a minute"),
                "ms/s",
                a_second,
            );
            let seconds = since.elapsed().as_secs_f64();
            rows.push(row.beside(format!("{polled} polls in {seconds:.0} s")));
        }
    }
    rows
}

/// Processor time of polls that bring nothing, a second apart; the server's is not counted.
pub fn polls(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for (told, queues) in [(Told::One, "one service"), (Told::Nobody, "a queue each")] {
        let what = format!("processor a poll, unchanged, 1000 profiles, {queues}");
        let running = match Running::start(plan, 1_000, "1s", told) {
            Ok(running) => running,
            Err(why) => {
                rows.push(Row::failed(what, "µs", why).within(150.0));
                continue;
            }
        };
        let (mut ours, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..plan.pick(5, 3) {
            let before = (
                running.daemon.processor(),
                running.server.processor(),
                world::polls(&running.address),
            );
            sleep(plan.pick(Duration::from_secs(15), Duration::from_secs(5)));
            let count = (world::polls(&running.address) - before.2) as f64;
            let a_poll = |spent: Duration| spent.as_secs_f64() * 1e6 / count;
            ours.push(a_poll(running.daemon.processor() - before.0));
            servers.push(a_poll(running.server.processor() - before.1));
        }
        let memory = running.daemon.memory();
        let row = Row::new(what, "µs", median(&mut ours)).within(150.0);
        rows.push(row.beside(format!(
            "best {:.0}; the server's own {:.0}; memory then {:.1} MB",
            ours[0],
            median(&mut servers),
            memory.resident
        )));
    }
    rows
}

/// Wake-ups while no poll is due and no watchdog is fed, seen by strace. Without a watchdog it looks four times a minute
/// whether the machine has slept, and the runtime's timers wake up to three times for one look.
pub fn idle(plan: &Plan) -> Vec<Row> {
    let what = "wake-ups, 1000 profiles, no poll due";
    let running = match Running::start(plan, 1_000, "1h", Told::One) {
        Ok(running) => running,
        Err(why) => return vec![Row::failed(what, "/min", why)],
    };
    // What is late of the start: threads that end, connections that nobody needs any more. The client looks every 90 s for
    // those that were idle for 90 s.
    sleep(plan.pick(Duration::from_secs(190), Duration::ZERO));
    let calls = running.world.path("calls");
    let strace = Command::new("strace")
        .args(["-f", "-ttt", "-o"])
        .arg(&calls)
        .args(["-p", &running.daemon.id().to_string()])
        .stderr(Stdio::null())
        .spawn();
    let Ok(strace) = strace else {
        return vec![Row::failed(what, "/min", "strace is not installed".into())];
    };
    let strace = Process(strace);
    let window = plan.pick(60.0, 15.0);
    sleep(Duration::from_secs_f64(window + 3.0));
    strace.stop();
    let text = fs::read_to_string(calls).unwrap();
    // `PID TIME CALL(…`. The first second is strace's: it shows what each thread is waiting in.
    let calls: Vec<(f64, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let time = words.next()?.parse().ok()?;
            Some((time, words.next()?))
        })
        .collect();
    let begin = calls.first().map_or(0.0, |(time, _)| time + 1.0);
    let mut wakes = 0;
    let mut last = 0.0;
    let mut names = std::collections::BTreeMap::<&str, usize>::new();
    for (time, call) in calls
        .iter()
        .filter(|(time, _)| (begin..begin + window).contains(time))
    {
        if time - last > 0.01 {
            wakes += 1;
        }
        last = *time;
        let name = call.split('(').next().unwrap_or(call);
        *names.entry(name).or_default() += 1;
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let names: Vec<_> = names
        .iter()
        .take(5)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let row = Row::new(what, "/min", f64::from(wakes) / window * 60.0).within(12.0);
    vec![row.beside(format!("in {window:.0} s: {}", names.join(", ")))]
}
