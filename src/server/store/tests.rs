use std::fs;

use super::*;

struct Folder {
    directory: tempfile::TempDir,
    store: Store,
}

fn profile(name: &str) -> ProfileId {
    ProfileId {
        application: "shop".into(),
        environment: "prod".into(),
        profile: name.into(),
    }
}

fn with(files: &[(&str, &str)]) -> Result<Folder, DirectoryError> {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("shop/prod");
    fs::create_dir_all(&environment).unwrap();
    for (name, text) in files {
        fs::write(environment.join(name), text).unwrap();
    }
    let store = Store::open(directory.path().to_owned(), standing())?;
    Ok(Folder { directory, store })
}

/// A clock that stands: however slow the machine is, no writer is forgotten.
fn standing() -> Clock {
    let now = Clock::system().now();
    Clock::of(move || now)
}

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("shop/prod").join(name)
    }

    async fn current(&self, name: &str) -> Result<Arc<Deployment>, Missing> {
        self.store.current(&profile(name)).await
    }
}

#[tokio::test]
async fn a_change_is_in_the_next_answer_without_any_event() {
    let folder = with(&[("a.json", "1")]).unwrap();
    assert_eq!(folder.current("a").await.unwrap().bytes, "1");
    for round in 2..20_u64 {
        // The same size, at once after the last answer
        fs::write(folder.path("a.json"), (round % 10).to_string()).unwrap();
        let deployment = folder.current("a").await.unwrap();
        assert_eq!(deployment.bytes, (round % 10).to_string());
        assert_eq!(deployment.revision, round);
    }
}

#[tokio::test]
async fn a_change_of_the_sidecar_is_a_deployment_of_the_same_bytes() {
    let folder = with(&[("a.json", "1")]).unwrap();
    assert_eq!(folder.current("a").await.unwrap().label, None);
    fs::write(folder.path("a.json.meta.yaml"), "version_label: v2\n").unwrap();
    let deployment = folder.current("a").await.unwrap();
    assert_eq!(
        (deployment.revision, deployment.label.clone().unwrap()),
        (2, HeaderValue::from_static("v2"))
    );
    fs::remove_file(folder.path("a.json.meta.yaml")).unwrap();
    assert_eq!(folder.current("a").await.unwrap().revision, 3);
}

#[tokio::test]
async fn a_file_that_is_touched_or_comes_back_unchanged_is_no_deployment() {
    let folder = with(&[("a.json", "1")]).unwrap();
    folder.current("a").await.unwrap();
    fs::write(folder.path("a.json"), "1").unwrap();
    assert_eq!(folder.current("a").await.unwrap().revision, 1);
    fs::remove_file(folder.path("a.json")).unwrap();
    assert_eq!(folder.current("a").await.unwrap_err(), Missing::Profile);
    fs::write(folder.path("a.yaml"), "1").unwrap();
    assert_eq!(folder.current("a").await.unwrap().revision, 1);
}

#[tokio::test]
async fn a_file_that_a_program_writes_is_not_taken_half_written() {
    let folder = with(&[("a.json", "whole")]).unwrap();
    folder.current("a").await.unwrap();
    let environment = folder.path("a.json").parent().unwrap().to_owned();
    fs::write(folder.path("a.json"), "").unwrap();
    folder
        .store
        .writers
        .lock()
        .unwrap()
        .insert(environment.join("a.json"), folder.store.clock.now().steady);
    assert_eq!(folder.current("a").await.unwrap().bytes, "whole");
    fs::write(folder.path("a.json"), "new").unwrap();
    folder.store.writers.lock().unwrap().clear();
    assert_eq!(folder.current("a").await.unwrap().bytes, "new");
}

#[tokio::test]
async fn a_file_that_is_emptied_and_then_written_is_never_seen_empty() {
    let folder = Arc::new(with(&[("a.json", "whole")]).unwrap());
    folder.current("a").await.unwrap();
    fs::write(folder.path("a.json"), "").unwrap();
    let (reader, asked) = (Arc::clone(&folder), tokio::sync::oneshot::channel());
    let (tell, heard) = asked;
    let reading = tokio::spawn(async move {
        tell.send(()).unwrap();
        reader.current("a").await.unwrap().bytes.clone()
    });
    heard.await.unwrap();
    fs::write(folder.path("a.json"), "new").unwrap();
    assert_eq!(reading.await.unwrap(), "new");
}

#[tokio::test]
async fn an_empty_file_that_stays_empty_is_an_empty_configuration() {
    let folder = with(&[("a.json", "")]).unwrap();
    assert!(folder.current("a").await.unwrap().bytes.is_empty());
}

#[tokio::test]
async fn a_directory_that_cannot_be_looked_at_is_not_taken_for_one_without_profiles() {
    let mut folder = with(&[("a.json", "1")]).unwrap();
    let link = folder.directory.path().join("link");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    folder.store.directory = link;
    assert_eq!(folder.current("new").await.unwrap_err(), Missing::Unknown);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let folder = with(&[("a.json", "1")]).unwrap();
    let missing = async |application: &str, environment: &str, name: &str| {
        let profile = ProfileId {
            application: application.into(),
            environment: environment.into(),
            profile: name.into(),
        };
        folder.store.current(&profile).await.map(drop)
    };
    assert_eq!(missing("shop", "prod", "a").await, Ok(()));
    assert_eq!(
        missing("none", "prod", "a").await,
        Err(Missing::Application)
    );
    assert_eq!(
        missing("shop", "none", "a").await,
        Err(Missing::Environment)
    );
    assert_eq!(missing("shop", "prod", "none").await, Err(Missing::Profile));
    assert_eq!(missing("..", "prod", "a").await, Err(Missing::Application));
    assert_eq!(
        missing("shop", "prod", "../../../etc/passwd").await,
        Err(Missing::Profile)
    );
    assert_eq!(
        missing("shop/prod", "a", "a").await,
        Err(Missing::Application)
    );
}

#[tokio::test]
async fn profiles_folders_and_applications_that_come_later_are_found() {
    let folder = with(&[]).unwrap();
    let other = folder.directory.path().join("late%2Fapp/dev");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("p%25.toml"), "a = 1").unwrap();
    let late = ProfileId {
        application: "late/app".into(),
        environment: "dev".into(),
        profile: "p%".into(),
    };
    let deployment = folder.store.current(&late).await.unwrap();
    assert_eq!(deployment.content_type, "application/toml");
    assert_eq!(late.to_string(), "late%2Fapp/dev/p%25");
}

#[test]
fn two_files_for_one_profile_are_an_error_at_the_start() {
    let error = with(&[("a.json", "1"), ("a.yaml", "1")]).err().unwrap();
    assert!(matches!(error, DirectoryError::TwoFiles { .. }));
    let text = error.to_string();
    assert!(
        text.contains("a.json") && text.contains("a.yaml") && text.contains("shop/prod/a"),
        "{text}"
    );
    assert!(
        with(&[
            ("a.json", "1"),
            ("a%2Ejson.json", "1"),
            (".a.json", "1"),
            ("a.json~", "1")
        ])
        .is_ok()
    );
}

#[tokio::test]
async fn two_files_for_one_profile_keep_the_old_one_later() {
    let folder = with(&[("a.json", "old")]).unwrap();
    folder.current("a").await.unwrap();
    fs::write(folder.path("a.conf"), "new").unwrap();
    assert_eq!(folder.current("a").await.unwrap().bytes, "old");
}

#[tokio::test]
async fn a_wrong_sidecar_is_an_error_at_the_start_and_keeps_the_old_version_later() {
    let error = with(&[("a.json", "1"), ("a.json.meta.yaml", "label: x")])
        .err()
        .unwrap();
    assert!(error.to_string().contains("a.json.meta.yaml"), "{error}");
    let folder = with(&[("a.json", "1")]).unwrap();
    folder.current("a").await.unwrap();
    fs::write(folder.path("a.json.meta.yaml"), "label: x").unwrap();
    fs::write(folder.path("a.json"), "2").unwrap();
    assert_eq!(folder.current("a").await.unwrap().bytes, "1");
    fs::remove_file(folder.path("a.json.meta.yaml")).unwrap();
    assert_eq!(folder.current("a").await.unwrap().bytes, "2");
}

#[tokio::test]
async fn a_configuration_has_4000_kb_at_most() {
    let limit = usize::try_from(crate::protocol::wire::GREATEST_CONFIGURATION).unwrap();
    let folder = with(&[
        ("big.txt", &"x".repeat(limit)),
        ("bigger.txt", &"x".repeat(limit + 1)),
    ])
    .unwrap();
    assert_eq!(folder.current("big").await.unwrap().bytes.len(), limit);
    assert_eq!(
        folder.current("bigger").await.unwrap_err(),
        Missing::Deployment
    );
}

/// Looks again until something is so, for a minute at most.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let look = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look)
        .await
        .expect("it becomes so");
}

#[tokio::test]
async fn a_slow_writer_holds_its_file_back_until_it_closes_it() {
    use std::io::Write;
    let Folder { directory, store } = with(&[("a.json", "whole")]).unwrap();
    let store = Arc::new(store);
    // The first time that this test waits, the other task runs, and watches the directory from then on.
    let following = tokio::spawn(follow(Arc::clone(&store)));
    let path = directory.path().join("shop/prod/a.json");
    assert_eq!(store.current(&profile("a")).await.unwrap().bytes, "whole");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"ha").unwrap();
    until(async || store.writers.lock().unwrap().contains_key(&path)).await;
    assert_eq!(store.current(&profile("a")).await.unwrap().bytes, "whole");
    file.write_all(b"lf").unwrap();
    assert_eq!(store.current(&profile("a")).await.unwrap().bytes, "whole");
    drop(file);
    until(async || store.current(&profile("a")).await.unwrap().bytes == "half").await;
    following.abort();
}
