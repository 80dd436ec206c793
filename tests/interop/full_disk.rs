//! A full disk: a data folder on a tmpfs of a few pages, in a mount namespace of its own.

use std::process::Command;

/// Runs a script where `$DATA` is a tmpfs of this size; what the machine does not allow fails.
fn on_small_disk(size: &str, script: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$DATA\" && {script}");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &mount])
        .env("DATA", folder.path())
        .env("BOT", env!("CARGO_BIN_EXE_switchboard"))
        .output()
        .expect("unshare is installed (util-linux)");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    // Its own name looks like that of a temporary file.
    text.replace(&*folder.path().to_string_lossy(), "DATA")
}

#[test]
fn d36_a_full_disk_changes_and_calls_nothing_and_is_told() {
    let script = r#"
        "$BOT" do --data "$DATA/data" --thread local --yes -- /mcp add demo -- switchboard demo-server || exit 1
        before=$(cat "$DATA/data/users/local/mcp.json")
        # Everything that is left, to the last byte.
        cat /dev/zero > "$DATA/filler" 2>/dev/null
        "$BOT" do --data "$DATA/data" --thread local --yes -- /mcp add-json '{"more": {"command": "true", "disabled": true}}' && exit 2
        [ "$before" = "$(cat "$DATA/data/users/local/mcp.json")" ] || exit 3
        ls -A "$DATA/data/users/local"
        # What cannot be written down is not called, and the servers can still be looked at.
        "$BOT" do --data "$DATA/data" --thread local -- /mcp call demo echo text=not-called && exit 4
        "$BOT" do --data "$DATA/data" --thread local -- /mcp list || exit 6
        rm "$DATA/filler"
        "$BOT" do --data "$DATA/data" --thread local -- /mcp call demo echo text=called-again || exit 7
        "$BOT" audit verify --data "$DATA/data" || exit 8
        "$BOT" do --data "$DATA/data" --thread local --yes -- /mcp add-json '{"more": {"command": "true", "disabled": true}}' || exit 5
    "#;
    let text = on_small_disk("1m", script);
    assert!(
        text.contains("called-again")
            && text.contains("cannot write down")
            && text.contains("local: whole")
            && !text.contains("not-called"),
        "{text}"
    );
    assert!(!text.contains(".tmp"), "a temporary file is left: {text}");
}
