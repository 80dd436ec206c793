//! The tier stands wherever somebody decides about a server that runs here, or looks at what was done.

use switchboard::thread::ThreadId;

use super::scene::{copy, open, tiers};

#[tokio::test(flavor = "multi_thread")]
async fn d01_the_tier_stands_in_proposals_on_the_panel_on_the_card_and_in_the_audit() {
    for (tier, _) in tiers() {
        let called = tier.word();
        let world = open(*tier);
        let (ann, program) = (world.ann(), copy(&world, "hostile"));
        let sandbox = format!("in the {called} sandbox");
        let add = format!("/mcp add bad -- {program}");
        // What each shows, and what leads to the next.
        for (line, expected, then) in [
            (add.as_str(), sandbox.as_str(), Some("Apply")),
            ("/mcp", &sandbox, None),
            ("/mcp show bad", &format!("Sandbox: {called}\n"), None),
            ("/mcp edit bad args=more", &sandbox, Some("Apply")),
            ("/mcp rename bad worse", &sandbox, Some("Cancel")),
            (
                "/mcp add twin -- switchboard demo-server",
                &sandbox,
                Some("Cancel"),
            ),
            ("/mcp call bad me", "", None),
            ("/mcp audit", &format!("started (confined: {called})"), None),
        ] {
            let shown = ann.says(line).await;
            assert!(shown.contains(expected), "{line}: {shown}");
            if let Some(label) = then {
                ann.presses(label).await;
            }
        }
        let noted = world.audit(ThreadId::Local);
        for what in ["started", "called"] {
            let of_it: Vec<_> = noted.iter().filter(|line| line["what"] == what).collect();
            assert!(!of_it.is_empty(), "{called}: no `{what}` in {noted:#?}");
            for line in of_it {
                assert_eq!(line["tier"], called, "{line}");
            }
        }
        world.close().await;
    }
}
