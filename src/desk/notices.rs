//! What reload and registry tell, brought to people: tools that appeared, a file that broke, a server that gave up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::{News, changed_tools, changed_view};
use super::propose::as_done;
use super::records::{HostChange, Records, ToldChanged, ToldPolicy, Wait};
use super::refusal::Refusal;
use super::screens;
use super::{Hall, Work, blocking, keeping, new_id};
use crate::audit::What;
use crate::chat::{FrontError, MessageId, View};
use crate::config::{Edit, FileKind, Files, Revision, ServerName, unified};
use crate::registry::{Notice, ServerState, ServerView, Snapshot};
use crate::reload::{Loaded, ReloadNotice};
use crate::store::{HistoryEntry, Origin};
use crate::thread::ThreadId;

/// A revision that is not in force this long after it was written was overtaken.
const OVERTAKEN: Duration = Duration::from_secs(3);

/// A message about the operator's policy is open for this long: what follows is told in the same message, at its end.
const MERGED: Duration = Duration::from_secs(10);

/// A change on the host, as the history names it.
const HOST_TITLE: &str = "a change on the bot's machine";

/// Lines of context in the diff of a change on the host.
const CONTEXT: usize = 2;

/// The files were read anew.
pub(super) async fn reloaded(hall: &Arc<Hall>, notice: ReloadNotice, records: &mut Records) {
    match notice {
        ReloadNotice::Changed {
            thread,
            now,
            before,
        } => {
            let is_own = hall.is_own(thread, now.revision);
            if std::mem::take(&mut records.told_broken) && !is_own {
                send(hall, thread, screens::sound_again()).await;
            }
            if is_own {
                return;
            }
            if let Some(before) = before.filter(|before| **before != *now.files) {
                changed(hall, thread, &now, &before, records).await;
            }
        }
        ReloadNotice::Broken { thread, now } => {
            let Some(broken) = &now.broken else { return };
            records.told_broken = true;
            let view = Refusal::Broken(broken.clone()).view();
            send(hall, thread, view).await;
        }
    }
}

/// The configuration is another one now. If this process did not do it, the thread is told.
async fn changed(
    hall: &Arc<Hall>,
    thread: ThreadId,
    now: &Loaded,
    before: &Files,
    records: &mut Records,
) {
    let edit = Edit::between(before, &now.files);
    if edit.0.is_empty() {
        return;
    }
    let files = [FileKind::Local, FileKind::Remote];
    let files = files
        .into_iter()
        .filter(|kind| before.get(*kind) != now.files.get(*kind));
    let files: Vec<FileKind> = files.collect();
    let names: Vec<String> = edit.names().into_iter().map(str::to_owned).collect();
    let diff = as_done(&unified(before, &now.files, CONTEXT));
    let (entry, by) = if let Some(entry) = recorded(hall, thread).await {
        (entry.id, person(&entry.origin))
    } else {
        let id = note(hall, thread, before, now, edit, &diff).await;
        let what = What::Changed {
            title: HOST_TITLE.to_owned(),
            servers: Vec::clone(&names),
            history: Some(id.clone()),
        };
        if let Err(error) = hall.note(thread, None, what).await {
            tracing::warn!(%thread, %error, "a change on the host is not in the audit yet.");
        }
        (id, None)
    };
    keeping::gone_on_host(hall, thread, before, &now.config, records).await;
    let host = HostChange { files, diff, by };
    let Ok(message) = hall.send(thread, screens::host_change(&host)).await else {
        return;
    };
    records.waits.push(Wait {
        revision: now.revision,
        message,
        title: HOST_TITLE.to_owned(),
        names,
        entry: Some(entry),
        host: Some(host),
        login: None,
        at_ms: (hall.parts.clock)(),
        since: Some(Instant::now()),
    });
    // The registry may have settled before this message was there to be edited.
    look(hall, thread, records).await;
}

/// The history entry of what is on disk, where another process of ours wrote both (`switchboard do`).
async fn recorded(hall: &Hall, thread: ThreadId) -> Option<HistoryEntry> {
    let store = hall.parts.store.clone();
    let newest = blocking(move || match store.is_recorded(thread) {
        Ok(true) => store.history(thread, 1),
        Ok(false) => Ok(Vec::new()),
        Err(error) => Err(error),
    });
    newest.await.ok().and_then(|mut entries| entries.pop())
}

fn person(origin: &Origin) -> Option<String> {
    match origin {
        Origin::Person(actor) => Some(actor.name.clone()),
        Origin::Host => None,
    }
}

/// Adds a change on the host to the history; returns the entry's id.
async fn note(
    hall: &Hall,
    thread: ThreadId,
    before: &Files,
    now: &Loaded,
    edit: Edit,
    diff: &str,
) -> String {
    let entry = HistoryEntry {
        id: new_id(),
        at_ms: (hall.parts.clock)(),
        origin: Origin::Host,
        title: HOST_TITLE.to_owned(),
        inverse: Edit::between(&now.files, before),
        edit,
        diff: diff.to_owned(),
        undoes: None,
    };
    let (id, store) = (entry.id.clone(), hall.parts.store.clone());
    if let Err(error) = blocking(move || store.note_external(thread, entry)).await {
        tracing::warn!(%thread, %error, "a change on the host could not be added to the history.");
    }
    id
}

/// The registry has something to say.
pub(super) async fn reported(hall: &Arc<Hall>, notice: Notice, records: &mut Records) {
    match notice {
        Notice::Settled { thread, revision } => settle(hall, thread, revision, records).await,
        Notice::Parked { thread, server } => {
            send(hall, thread, screens::parked(&server)).await;
        }
        Notice::Judged {
            thread,
            stopped,
            anew,
        } => {
            policy_changed(hall, thread, stopped, anew, records).await;
        }
        // Readers see the new tools in the next snapshot; a message for each would be noise (some servers send one at
        // every start). What is off until somebody looks at it is told, once.
        Notice::ToolsChanged { thread, server } => {
            tracing::debug!(%thread, server = %server.name, "tools changed.");
            tools_changed(hall, thread, &server, records).await;
        }
    }
}

/// Another policy stops servers or starts them anew: the first change is told at once, and those that follow it closely in
/// the same message, since an operator who tries something out would have each chat told of each step.
async fn policy_changed(
    hall: &Arc<Hall>,
    thread: ThreadId,
    stopped: Vec<(ServerName, String)>,
    anew: Vec<ServerName>,
    records: &mut Records,
) {
    if let Some(told) = &mut records.told_policy {
        told.merge(stopped, anew);
        return;
    }
    if let Some(message) = send(hall, thread, screens::judged(&stopped, &anew)).await {
        records.told_policy = Some(ToldPolicy {
            message,
            stopped,
            anew,
            is_behind: false,
            since: Instant::now(),
        });
        look_later(hall, thread);
    }
}

/// Says what came of the policy since the message was sent, or closes it where nothing did.
async fn tell_policy(hall: &Arc<Hall>, thread: ThreadId, records: &mut Records) {
    let is_due = |told: &mut ToldPolicy| told.since.elapsed() >= MERGED;
    let Some(mut told) = records.told_policy.take_if(is_due) else {
        return;
    };
    let snapshot = hall.parts.registry.snapshot(thread);
    let is_under_way = snapshot.is_some_and(|snapshot| told.settle(&snapshot));
    if !told.is_behind {
        if is_under_way {
            told.since = Instant::now();
            records.told_policy = Some(told);
            look_later(hall, thread);
        }
        return;
    }
    let view = screens::judged(&told.stopped, &told.anew);
    match hall.edit(thread, told.message, view.clone()).await {
        Ok(()) => {}
        Err(FrontError::NotEditable(_)) => match send(hall, thread, view).await {
            Some(message) => told.message = message,
            None => return,
        },
        Err(error) => {
            tracing::warn!(%thread, %error, "a change of the policy could not be told.");
            return;
        }
    }
    told.is_behind = false;
    told.since = Instant::now();
    records.told_policy = Some(told);
    look_later(hall, thread);
}

/// Has the thread looked at when its message about the policy is due; nothing waits for that.
fn look_later(hall: &Arc<Hall>, thread: ThreadId) {
    let waiting = Arc::clone(hall);
    hall.tasks.spawn(async move {
        tokio::select! {
            () = waiting.stop.cancelled() => {}
            () = tokio::time::sleep(MERGED) => {
                let _ = waiting.post(thread, Work::Look);
            }
        }
    });
}

/// Tells of tools whose definitions changed: one message, and no second one of the same tools.
async fn tools_changed(
    hall: &Arc<Hall>,
    thread: ThreadId,
    server: &ServerView,
    records: &mut Records,
) {
    let name = server.name.as_str();
    let changed: Vec<String> = changed_tools(server)
        .iter()
        .map(|tool| tool.name.clone())
        .collect();
    let mut told_before = records
        .told_changed
        .extract_if(.., |told| told.server == name);
    let before = told_before
        .next()
        .map(|told| told.tools)
        .unwrap_or_default();
    drop(told_before);
    let is_new = changed.iter().any(|tool| !before.contains(tool));
    if changed.is_empty() {
        return;
    }
    records.told_changed.push(ToldChanged {
        server: name.to_owned(),
        tools: changed,
    });
    if is_new {
        send(hall, thread, changed_view(server)).await;
    }
}

/// Looks at what waits for servers: ends what has settled, was overtaken, or has waited long enough, and has the others
/// tell how far they are. So no wait depends on one notice alone.
pub(super) async fn look(hall: &Arc<Hall>, thread: ThreadId, records: &mut Records) {
    tell_policy(hall, thread, records).await;
    let snapshot = hall.parts.registry.snapshot(thread);
    let on_disk = match &snapshot {
        Some(_) => hall.parts.reload.touch(thread).await.ok(),
        None => None,
    };
    let is_on_its_way = |wait: &Wait| {
        let on_disk = on_disk.as_ref().filter(|loaded| loaded.broken.is_none());
        on_disk.is_some_and(|loaded| loaded.revision == wait.revision)
    };
    let is_over = |wait: &Wait| match &snapshot {
        None => true,
        Some(snapshot) if snapshot.revision == wait.revision => snapshot.is_settled(),
        // Not seen yet, or overtaken by a later write or a broken one: soon known.
        Some(_) => {
            wait.since.is_none_or(|since| since.elapsed() > OVERTAKEN) && !is_on_its_way(wait)
        }
    };
    let (over, open): (Vec<Wait>, Vec<Wait>) = std::mem::take(&mut records.waits)
        .into_iter()
        .partition(is_over);
    // One interim report a look: the chat's own pace is slower than many.
    if let (Some(wait), Some(snapshot)) = (open.last(), &snapshot) {
        let view = screens::settled(wait, Some(snapshot), false);
        if let Err(error) = hall.edit(thread, wait.message, view).await {
            tracing::debug!(%thread, %error, "an interim report could not be delivered.");
        }
    }
    records.waits = open;
    end(hall, thread, over).await;
}

async fn settle(hall: &Arc<Hall>, thread: ThreadId, revision: Revision, records: &mut Records) {
    end(hall, thread, records.take_settled(revision)).await;
}

/// Tells what came of changes.
async fn end(hall: &Arc<Hall>, thread: ThreadId, waits: Vec<Wait>) {
    let snapshot = hall.parts.registry.snapshot(thread);
    for wait in waits {
        if let Some(news) = login_wanted(&wait, snapshot.as_deref())
            && hall.post(thread, Work::News(news)).is_ok()
        {
            continue;
        }
        let view = screens::settled(&wait, snapshot.as_deref(), true);
        let edited = hall.edit(thread, wait.message, view.clone()).await;
        match edited {
            Err(FrontError::NotEditable(_)) => {
                send(hall, thread, view).await;
            }
            Err(error) => tracing::warn!(%thread, %error, "a report could not be delivered."),
            Ok(()) => {}
        }
    }
}

/// The login that a server wants which was just connected; it is begun in the same message.
fn login_wanted(wait: &Wait, snapshot: Option<&Snapshot>) -> Option<News> {
    let wish = wait.login.clone()?;
    let server = snapshot?.server(&wish.server)?;
    let ServerState::NeedsLogin { challenge, .. } = &server.state else {
        return None;
    };
    Some(News::LoginWanted {
        challenge: challenge.clone(),
        wish,
        message: wait.message,
    })
}

async fn send(hall: &Arc<Hall>, thread: ThreadId, view: View) -> Option<MessageId> {
    match hall.send(thread, view).await {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::warn!(%thread, %error, "a notice could not be delivered.");
            None
        }
    }
}

impl Notice {
    /// Which thread it is about.
    pub(super) fn thread(&self) -> ThreadId {
        match self {
            Self::Settled { thread, .. }
            | Self::Parked { thread, .. }
            | Self::ToolsChanged { thread, .. }
            | Self::Judged { thread, .. } => *thread,
        }
    }
}
