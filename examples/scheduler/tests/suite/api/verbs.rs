//! Verbs on objects.

use mason::api::wire::Change;
use mason_core::control::service::{Revision, RevisionState, ServiceProgress};
use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::record::{JobRecord, Phase, Progress, StateRecord, encode};
use mason_core::spec::Work;
use mason_core::txn::Txn;

use super::{Site, check_refused, key};
use crate::support::Kind;

on_both! {
    verbs_do_what_they_say
    verbs_are_refused_where_they_mean_nothing
    a_rollback_is_to_a_template_that_is_known
}

const ALL: &str = "{kind: Job, name: job, image: a}
---
{kind: Service, name: web, image: 'web:1', replicas: 2}
---
{kind: Cron, name: cron, schedule: '0 0 1 1 *', job: {image: a}}
";

fn record(site: &Site, name: &str) -> JobRecord {
    site.shared.read(|mirror| mirror.job(&key(name)).unwrap().record.clone()).unwrap().value
}

fn none() -> Change {
    Change::default()
}

fn image(name: &str) -> Change {
    Change { image: Some(name.to_owned()), ..none() }
}

/// Each is one field of one record; the wrong one is somebody's outage.
async fn verbs_do_what_they_say(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(ALL).await.unwrap();
    for name in ["job", "web", "cron"] {
        for (verb, suspended) in [("suspend", true), ("resume", false)] {
            assert!(site.verb(name, verb, none()).await.unwrap().revision > 0, "{verb} {name}");
            assert_eq!(site.verb(name, verb, none()).await.unwrap().revision, 0, "{verb} {name}");
            let is = match record(&site, name).work {
                Work::Job(it) => it.suspend,
                Work::Service(it) => it.suspend,
                Work::Cron(it) => it.suspend,
                Work::Workflow(it) => it.suspend,
            };
            assert_eq!(is, suspended, "{verb} {name}");
        }
    }
    assert_eq!(record(&site, "web").generation, 3);
    site.verb("web", "image", image("web:2")).await.unwrap();
    site.verb("cron", "image", image("b")).await.unwrap();
    site.verb("web", "restart", none()).await.unwrap();
    let change = Change { replicas: Some(7), ..none() };
    site.verb("web", "scale", change.clone()).await.unwrap();
    assert_eq!(site.verb("web", "scale", change).await.unwrap().revision, 0);
    let web = record(&site, "web");
    let Work::Service(service) = &web.work else { panic!("it is a service") };
    assert_eq!((service.replicas, service.task.image.as_str(), web.restarts), (7, "web:2", 1));
    for name in ["job", "web", "cron"] {
        site.verb(name, "delete", none()).await.unwrap();
        site.shows(|mirror| mirror.job(&key(name)).is_none().then_some(())).await;
    }
    check_refused(site.verb("web", "delete", none()).await, 404, "there is no job, service");
}

/// A verb that does nothing in silence is believed to have worked.
async fn verbs_are_refused_where_they_mean_nothing(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(ALL).await.unwrap();
    // Its first revision is the leader's to make.
    let begun = |mirror: &Mirror| {
        let progress = &mirror.job(&key("web"))?.state.as_ref()?.value.progress;
        matches!(progress, Progress::Service(_)).then_some(())
    };
    site.shows(begun).await;
    let five = Change { replicas: Some(5), ..none() };
    for (name, verb, change, status, text) in [
        ("job", "scale", five.clone(), 409, "the size of a job is fixed"),
        ("job", "restart", none(), 409, "`retry` tries again what failed"),
        ("job", "rollback", none(), 409, "nothing to go back to"),
        ("job", "image", image("b"), 409, "delete it, or give another its own name"),
        ("job", "retry", none(), 409, "has not ended"),
        ("web", "retry", none(), 409, "tries for ever"),
        ("cron", "retry", none(), 409, "retry one of the jobs"),
        ("web", "rollback", none(), 409, "no earlier revision that was whole"),
        ("web", "scale", none(), 400, "replicas: is missing"),
        ("web", "suspend", five, 400, "replicas: has no meaning for suspend"),
        ("web", "image", image("a b"), 400, "image: `a b` is no name of an image"),
        ("web", "scale", Change { replicas: Some(1_000_000), ..none() }, 400, "replicas: more"),
        ("web", "explode", none(), 404, "`explode` is no verb"),
        ("nobody", "suspend", none(), 404, "there is no"),
    ] {
        check_refused(site.verb(name, verb, change).await, status, text);
    }
    // A job that has failed can be tried again.
    let failed = site.shows(|mirror| {
        let job = mirror.job(&key("job"))?;
        let state = &job.state.as_ref()?.value;
        let progress = state.progress.clone();
        Some(StateRecord { phase: Phase::Failed, progress, ..state.clone() })
    });
    let failed = failed.await;
    let path = site.store.keys().path(&Key::State(key("job")));
    site.commit(Txn::new().put(path, encode(&failed))).await;
    site.verb("job", "retry", none()).await.unwrap();
    assert_eq!(record(&site, "job").retries, 1);
}

/// What a service goes back to is what it then wants: its manifest shows it, and applying the newer
/// one again goes forward.
async fn a_rollback_is_to_a_template_that_is_known(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(ALL).await.unwrap();
    let progress = |site: &Site| {
        site.shared.read(|mirror| {
            let state = mirror.job(&key("web"))?.state.as_ref()?;
            let Progress::Service(value) = &state.value.progress else { return None };
            let read = ServiceProgress::read(value).unwrap();
            (!read.revisions.is_empty()).then(|| (state.value.clone(), read))
        })
    };
    site.shows(|_| progress(&site)).await;
    site.verb("web", "image", image("web:2")).await.unwrap();
    let both = || progress(&site).filter(|(_, read)| read.revisions.len() == 2);
    let (state, mut read) = site.shows(|_| both()).await;
    // Nothing runs here: that the first was whole must be said.
    let first: &mut Revision = &mut read.revisions[0];
    first.state = RevisionState::Whole(1);
    let said = StateRecord { progress: Progress::Service(read.write()), ..state };
    let path = site.store.keys().path(&Key::State(key("web")));
    site.commit(Txn::new().put(path, encode(&said))).await;
    let to_nine = Change { revision: Some(9), ..none() };
    check_refused(site.verb("web", "rollback", to_nine).await, 409, "has no revision 9: known");
    let done = site.verb("web", "rollback", none()).await.unwrap();
    assert_eq!(done.message, "service default/web goes back to revision 1");
    let back = record(&site, "web");
    assert!(matches!(&back.work, Work::Service(it) if it.task.image == "web:1"));
    assert_eq!(back.rollback_to, Some(1));
    site.shows(|_| progress(&site).filter(|(_, read)| read.target == 1)).await;
    assert_eq!(
        site.verb("web", "rollback", Change { revision: Some(1), ..none() })
            .await
            .unwrap()
            .revision,
        0
    );
    site.apply(&ALL.replace("web:1", "web:2")).await.unwrap();
    site.shows(|_| progress(&site).filter(|(_, read)| read.target == 2)).await;
    assert_eq!(record(&site, "web").rollback_to, None);
}
