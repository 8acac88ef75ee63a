use super::*;

async fn judged(command: Command) -> Verdict {
    let place = Place::new();
    let service = service(Notify::Command(command));
    place.services.notify(&service, long_ago(), &[]).await
}

#[tokio::test]
async fn a_command_that_exits_with_0_accepts() {
    assert_eq!(judged(argv(&["true"])).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_command_that_exits_otherwise_rejects_with_its_status_and_last_words() {
    let text = rejected(judged(sh("echo one; printf 'two\\033[0m\\n' >&2; exit 3")).await);
    assert!(
        text.ends_with("` exited with status 3: one; two\\u{1b}[0m"),
        "{text}"
    );
    let long = rejected(judged(sh("head -c 100000 /dev/zero | tr '\\0' x; exit 1")).await);
    assert!(long.len() < 500, "{long}");
}

#[tokio::test]
async fn what_never_ran_or_did_not_end_by_itself_is_undecided() {
    let missing = undecided(judged(argv(&["no-such-program-here", "-t"])).await);
    assert!(
        missing.contains("`no-such-program-here` in PATH"),
        "{missing}"
    );
    assert!(undecided(judged(sh("no-such-program-here")).await).contains("status 127"));
    assert!(undecided(judged(sh("kill -9 $$")).await).contains("killed by signal 9"));
    let place = Place::new();
    let mut hanging = service(Notify::Command(sh("sleep 30")));
    hanging.timeout = Duration::from_millis(200);
    let start = Instant::now();
    let text = undecided(place.services.notify(&hanging, long_ago(), &[]).await);
    assert!(text.contains("did not end within 200ms"), "{text}");
    assert!(start.elapsed() < LONG / 2);
}

#[tokio::test]
async fn a_command_learns_its_service_and_what_it_is_about() {
    let place = Place::new();
    let line = "echo \"$APPCONFIGD_SERVICE $APPCONFIGD_VERSION ${NOTIFY_SOCKET-none}\" >told";
    let mut service = service(Notify::Command(sh(line)));
    service.check = Some(sh("test \"$APPCONFIGD_VERSION\" = 7"));
    let about = [("APPCONFIGD_VERSION".to_owned(), "7".to_owned())];
    assert_eq!(
        place.services.check(&service, &about).await,
        Verdict::Accepted
    );
    rejected(place.services.check(&service, &[]).await);
    let told = place.services.notify(&service, long_ago(), &about).await;
    assert_eq!(told, Verdict::Accepted);
    assert_eq!(place.read("told"), "shop 7 none\n");
}

#[tokio::test]
async fn no_check_accepts() {
    let place = Place::new();
    let service = service(Notify::Command(argv(&["false"])));
    assert_eq!(place.services.check(&service, &[]).await, Verdict::Accepted);
    assert_eq!(place.services.running(&service).await, Running::Unknown);
}

#[tokio::test]
async fn a_staged_file_is_named_whatever_its_path_is() {
    let place = Place::new();
    let target = TargetPath::new("/etc/shop/limits.json").unwrap();
    for name in ["plain", "it's a \"name\" $(touch evil); `x`"] {
        place.write(name, "sound\n");
        for command in [
            argv(&["grep", "sound", "{staged}"]),
            sh("grep sound {staged}"),
        ] {
            let verdict = place
                .services
                .check_staged(&target, &command, &place.path(name), LONG)
                .await;
            assert_eq!(verdict, Verdict::Accepted, "{command:?} {name}");
        }
    }
    let quoted = sh("grep sound \"{staged}\" '{staged}'");
    let verdict = place
        .services
        .check_staged(&target, &quoted, &place.path("plain"), LONG)
        .await;
    assert_eq!(verdict, Verdict::Accepted);
    assert!(!exists(&place.path("evil")));
    let no = argv(&["grep", "unsound", "{staged}"]);
    let verdict = place
        .services
        .check_staged(&target, &no, &place.path("plain"), LONG)
        .await;
    assert!(rejected(verdict).contains("exited with status 1"));
}

#[tokio::test]
async fn a_missing_program_is_found_out_before_it_is_needed() {
    let place = Place::new();
    let missing = |service: &Service| place.services.missing_program(service);
    let mut shop = service(Notify::Command(argv(&["true"])));
    assert_eq!(missing(&shop), None);
    shop.check = Some(argv(&["no-such-program-here"]));
    assert!(
        missing(&shop)
            .unwrap()
            .starts_with("`check`: cannot find the program `no-such")
    );
    shop.check = Some(sh("anything"));
    shop.notify = Notify::Command(argv(&["./missing"]));
    assert!(
        missing(&shop)
            .unwrap()
            .starts_with("`command`: cannot find the program `")
    );
    let nowhere = Surroundings {
        directory: PathBuf::new(),
        variables: vec![("PATH".to_owned(), "/nowhere".to_owned())],
        ..Surroundings::default()
    };
    let reload = Notify::Reload {
        unit: "shop.service".to_owned(),
        verb: ReloadVerb::Reload,
    };
    let text = Services::new(None, nowhere)
        .missing_program(&service(reload))
        .unwrap();
    assert!(text.contains("`systemctl`"), "{text}");
}

#[tokio::test]
async fn a_service_that_is_no_unit_is_not_started() {
    let place = Place::new();
    let service = service(Notify::Command(argv(&["true"])));
    undecided(place.services.start_again(&service).await);
}

#[tokio::test]
async fn what_commands_wrote_waits_to_be_recorded_with_whose_it_was_and_what_for() {
    let place = Place::new();
    let mut asked = service(Notify::Command(sh("echo told; printf 'a\\033[31mb'")));
    asked.check = Some(sh("echo no >&2; exit 3"));
    let target = TargetPath::new("/etc/shop/limits.json").unwrap();
    place.services.check(&asked, &[]).await;
    place
        .services
        .notify(&asked, Timestamp::UNIX_EPOCH, &[])
        .await;
    let staged = place.path("staged");
    let validate = argv(&["true", "{staged}"]);
    place
        .services
        .check_staged(&target, &validate, &staged, LONG)
        .await;
    let ran = place.services.ran();
    let shown: Vec<_> = ran
        .iter()
        .map(|ran| (ran.errand.word(), ran.outcome.as_str(), ran.output.as_str()))
        .collect();
    let expected = [
        ("check", "exited with status 3", "no\n"),
        ("notify", "exited with status 0", "told\na\\u{1b}[31mb"),
        ("validate", "exited with status 0", ""),
    ];
    assert_eq!(shown, expected);
    let shop = Owner::Service(ServiceName::from("shop"));
    assert_eq!([&ran[0].owner, &ran[1].owner], [&shop, &shop]);
    assert_eq!(ran[2].owner, Owner::Target(target));
    assert_eq!(place.services.ran(), []);
    // Somebody else's are somebody else's; what could not be recorded comes back before what came meanwhile.
    let another = place.services.for_another();
    place.services.check(&asked, &[]).await;
    assert_eq!(another.ran(), []);
    place.services.put_back(ran.clone());
    let all = place.services.ran();
    assert_eq!(all[..3], ran[..]);
    assert_eq!(all.len(), 4);
}
