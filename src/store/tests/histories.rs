//! What was done is told, and no more of it than there is room for.

use super::*;

#[test]
fn a_torn_line_is_cut_and_a_damaged_one_is_passed_over() {
    let scene = Scene::new();
    scene.commit("a", &files(1, None)).unwrap();
    let path = scene.path("state/tg5/history.jsonl");
    let whole = fs::read(&path).unwrap();
    let torn = || fs::OpenOptions::new().append(true).open(&path).unwrap();
    torn().write_all(b"{\"intent\":{\"entry").unwrap();
    assert_eq!(scene.ids(), ["a"]);
    assert_eq!(fs::read(&path).unwrap(), whole);
    torn().write_all(b"not a line\n").unwrap();
    scene.commit("b", &files(2, None)).unwrap();
    assert_eq!(scene.ids(), ["b", "a"]);
}

#[test]
fn the_history_is_bounded_and_keeps_the_newest() {
    let scene = Scene::new();
    for nth in 0..350 {
        scene
            .store
            .note_external(THREAD, entry(&nth.to_string()))
            .unwrap();
    }
    let mut large = entry("large");
    large.diff = "x".repeat(3 * 1024 * 1024);
    for _ in 0..2 {
        scene.store.note_external(THREAD, large.clone()).unwrap();
    }
    scene.commit("newest", &files(1, None)).unwrap();
    let ids = scene.ids();
    assert_eq!(ids[..2], ["newest", "large"]);
    assert!(ids.len() <= 201);
    assert!(
        scene
            .path("state/tg5/history.jsonl")
            .metadata()
            .unwrap()
            .len()
            < 5 * 1024 * 1024
    );

    let scene = Scene::new();
    for nth in 0..700 {
        scene
            .store
            .note_external(THREAD, entry(&nth.to_string()))
            .unwrap();
    }
    let ids = scene.ids();
    assert!(ids.len() >= 200 && ids.len() <= 601, "{}", ids.len());
    let newest: Vec<String> = (500..700).rev().map(|nth| nth.to_string()).collect();
    assert_eq!(ids[..200], newest);
}

#[test]
fn what_somebody_else_wrote_is_not_recorded_until_it_is_noted() {
    let scene = Scene::new();
    assert!(scene.store.is_recorded(THREAD).unwrap());
    scene.commit("a", &files(1, None)).unwrap();
    assert!(scene.store.is_recorded(THREAD).unwrap());
    put(&scene.path("users/tg5/mcp.json"), "{}");
    assert!(!scene.store.is_recorded(THREAD).unwrap());
    scene.store.note_external(THREAD, entry("host")).unwrap();
    assert!(scene.store.is_recorded(THREAD).unwrap());
    assert_eq!(scene.ids(), ["host", "a"]);
}
