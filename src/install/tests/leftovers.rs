use super::*;

#[test]
fn what_cannot_be_removed_now_is_removed_when_it_can_be() {
    let place = Place::new();
    place.write("etc/a", "one", 0o644);
    let placement = place.placement("etc/a", "two", &Wanted::default());
    place
        .installer
        .keep(std::slice::from_ref(&placement))
        .unwrap();
    place
        .installer
        .swap(std::slice::from_ref(&placement))
        .unwrap();
    let staged = place.placement("etc/a", "three", &Wanted::default());
    assert!(!place.installer.is_to_be_tidied());

    // Whoever is in the way takes the directory's name.
    fs::rename(place.path("etc"), place.path("away")).unwrap();
    fs::write(place.path("etc"), "").unwrap();
    place.installer.release(&[placement]);
    place.installer.discard(&staged.target, &staged.staged);
    assert!(place.installer.is_to_be_tidied());
    assert!(!place.installer.is_to_be_tidied(), "one is enough");
    assert!(!place.installer.tidy());

    fs::remove_file(place.path("etc")).unwrap();
    fs::rename(place.path("away"), place.path("etc")).unwrap();
    assert_eq!(names(&place.path("etc/.appconfigd")).len(), 2);
    assert!(place.installer.tidy());
    assert_eq!(names(&place.path("etc")), ["a"]);
    assert_eq!(fs::read(place.path("etc/a")).unwrap(), b"two");
    assert!(!place.installer.is_to_be_tidied());
}
