//! The whole bot on Telegram: the front against the stand-in Bot API, with all rooms behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use switchboard::app::{House, HouseOptions};
use switchboard::chat::telegram::{Pace, RunError, Telegram, TelegramOptions};
use switchboard::policy::HostPolicy;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::bot_api::{BotApi, Person, Place, Shown, TOKEN};
use super::world::{PROGRAM, within};

/// A running bot.
pub struct Bot {
    pub api: BotApi,
    pub house: House,
    /// Goes away with the bot.
    folder: tempfile::TempDir,
    stop: CancellationToken,
    run: JoinHandle<Result<(), RunError>>,
}

impl Bot {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other options.
    pub async fn start_with(set: impl FnOnce(&mut HouseOptions)) -> Self {
        let api = BotApi::start().await;
        let front = Telegram::connect(options(&api)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut options = HouseOptions::new(folder.path().join("data"), PathBuf::from(PROGRAM));
        options.registry.packages = false;
        options.policy.defaults = HostPolicy::open();
        set(&mut options);
        let name = front.our_name().to_owned();
        let house = House::open(options, Arc::<Telegram>::clone(&front), Some(name)).unwrap();
        let stop = CancellationToken::new();
        let run = tokio::spawn({
            let (desk, stop) = (house.desk.clone(), stop.clone());
            async move { front.run(Arc::new(desk), stop).await }
        });
        Self {
            api,
            house,
            folder,
            stop,
            run,
        }
    }

    /// The text of a file below the data folder; empty where there is none.
    pub fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("data").join(path)).unwrap_or_default()
    }

    /// Writes, and waits for a message that has the text in it and was not so before.
    pub async fn says(&self, person: &Person, text: &str, expected: &str) -> Shown {
        let before = self.api.messages(person.place);
        person.says(text);
        self.sees_new(person.place, expected, &before).await
    }

    /// Presses, and waits for a message that has the text in it and was not so before.
    pub async fn presses(&self, person: &Person, label: &str, expected: &str) -> Shown {
        let before = self.api.messages(person.place);
        person.presses(label);
        self.sees_new(person.place, expected, &before).await
    }

    async fn sees_new(&self, place: Place, expected: &str, before: &[Shown]) -> Shown {
        let is_old = |shown: &Shown| {
            let same = |old: &&Shown| old.id == shown.id && old.edits == shown.edits;
            before.iter().any(|old| same(&old))
        };
        let find = |shown: &[Shown]| {
            let mut newest_first = shown.iter().rev();
            newest_first
                .find(|one| one.plain.contains(expected) && !is_old(one))
                .cloned()
        };
        self.api.wait_for(place, expected, find).await
    }

    pub async fn sees(&self, place: Place, expected: &str) -> Shown {
        self.api.wait_for_text(place, expected).await
    }

    /// Ends as SIGTERM does.
    pub async fn close(self) -> BotApi {
        self.stop.cancel();
        within(self.run).await.unwrap().unwrap();
        within(self.house.close(Duration::from_secs(10))).await;
        self.api
    }
}

/// Options for the stand-in, without the pauses that Telegram needs.
pub fn options(api: &BotApi) -> TelegramOptions {
    let quick = (Duration::from_millis(1), 100);
    TelegramOptions {
        api_url: Some(api.url()),
        pace: Pace {
            chat: quick,
            group: quick,
        },
        ..TelegramOptions::new(TOKEN)
    }
}
