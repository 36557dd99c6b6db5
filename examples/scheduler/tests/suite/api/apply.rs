//! Apply: what is asked for is in the store, or nothing of it is.

use mason::api::wire::{Apply, Change, Detail, Outcome, Refusal, Summary};
use mason_core::record::{JobRecord, Phase};
use mason_core::spec::Work;

use super::{Site, check_refused, key, refused};
use crate::support::Kind;

on_both! {
    an_apply_is_in_the_store_when_it_is_answered
    problems_are_told_all_at_once_and_nothing_is_written
    what_cannot_change_says_what_to_do
    a_service_goes_to_its_new_placement
    jobs_that_wait_in_a_circle_are_refused
    applies_that_race_all_count
    a_name_is_free_only_when_its_object_is_gone
    generated_names_are_written_out
    news_are_waited_for
}

const JOB: &str = "{kind: Job, name: hi, image: busybox, command: [echo, hi]}";
const WEB: &str = "{kind: Service, name: web, image: web:1, replicas: 2}";

fn record(site: &Site, name: &str) -> Option<JobRecord> {
    site.shared.read(|mirror| Some(mirror.job(&key(name))?.record.as_ref()?.value.clone()))
}

/// A circle of jobs would wait for ever, and nobody would be told.
async fn jobs_that_wait_in_a_circle_are_refused(kind: Kind) {
    let site = Site::start(kind).await;
    let job = |name: &str, on: &[&str]| {
        let on: Vec<String> = on.iter().map(|on| format!("{{job: {on}}}")).collect();
        format!("{{kind: Job, name: {name}, image: a, dependsOn: [{}]}}", on.join(", "))
    };
    let told = |refusal: Refusal| refusal.problems.join("\n");
    let (status, refusal) = refused(site.apply(&job("a", &["x", "a"])).await);
    let said = "job default/a: dependsOn: it would never begin: a waits for a";
    assert_eq!((status, told(refusal)), (400, said.to_owned()));
    // One that is there, and waits for one that is not yet.
    site.apply(&job("a", &["x", "b"])).await.unwrap();
    let text = format!("{}\n---\n{}", job("c", &["a"]), job("b", &["d", "c"]));
    let (_, refusal) = refused(site.apply(&text).await);
    assert!(told(refusal).contains("b waits for c waits for a waits for b"));
    assert_eq!(record(&site, "c"), None);
    // Two ways to one end are no circle.
    let text = format!("{}\n---\n{}", job("c", &["x", "d"]), job("b", &["d", "c"]));
    site.apply(&text).await.unwrap();
}

/// Who applies, and then looks, must find it; who applies the same again must change nothing.
async fn an_apply_is_in_the_store_when_it_is_answered(kind: Kind) {
    let site = Site::start(kind).await;
    let text = format!("{JOB}\n---\n{WEB}\n---\n{{kind: Config, name: c, data: {{a: b}}}}\n");
    let applied = site.apply(&text).await.unwrap();
    let told: Vec<_> = applied.objects.iter().map(|it| (it.kind.as_str(), it.outcome)).collect();
    let created = Outcome::Created;
    assert_eq!(told, [("job", created), ("service", created), ("config", created)]);
    let detail: Detail = site.client.get("/v1/objects/default/hi").await.unwrap();
    assert_eq!((detail.record.generation, detail.summary.kind.as_str()), (1, "job"));
    assert!(detail.manifest.contains("kind: Job"), "{}", detail.manifest);
    let again = site.apply(&text).await.unwrap();
    assert!(again.objects.iter().all(|it| it.outcome == Outcome::Unchanged), "{again:?}");
    let more = text.replace("replicas: 2", "replicas: 3").replace("a: b", "a: c");
    let changed = site.apply(&more).await.unwrap();
    let told: Vec<_> = changed.objects.iter().map(|it| it.outcome).collect();
    assert_eq!(told, [Outcome::Unchanged, Outcome::Changed, Outcome::Changed]);
    assert_eq!(record(&site, "web").unwrap().generation, 2);
    assert_eq!(record(&site, "hi").unwrap().generation, 1);
    let services: Vec<Summary> =
        site.client.get("/v1/objects?namespace=default&kind=service").await.unwrap();
    assert_eq!((services.len(), services[0].wanted), (1, 3));
}

/// Replicas that stay where they were would leave a node full that was to be freed.
async fn a_service_goes_to_its_new_placement(kind: Kind) {
    let site = Site::start(kind).await;
    let web = |image: &str, label: &str| {
        format!(
            "{{kind: Service, name: web, image: {image}, replicas: 2, \
             placement: {{require: [disk={label}]}}}}"
        )
    };
    let restarts = async |text: &str| {
        site.apply(text).await.unwrap();
        record(&site, "web").unwrap().restarts
    };
    assert_eq!(restarts(WEB).await, 0);
    assert_eq!(restarts(&web("web:1", "ssd")).await, 1);
    assert_eq!(restarts(&web("web:1", "ssd")).await, 1, "nothing has changed");
    // A new template goes there by itself.
    assert_eq!(restarts(&web("web:2", "any")).await, 1);
}

/// One mistake in ten documents must not leave nine of them running.
async fn problems_are_told_all_at_once_and_nothing_is_written(kind: Kind) {
    let site = Site::start(kind).await;
    let text = format!(
        "{JOB}\n---\n{}\n---\n{}\n---\n{}",
        "{kind: Job, name: typo, imgae: busybox}",
        "{kind: Service, name: w, image: a, replicas: 1, update: {surge: 0, unavailable: 0}}",
        "{kind: Cron, name: c, schedule: '61 * * * *', job: {image: a}}",
    );
    let (status, refusal) = refused(site.apply(&text).await);
    assert_eq!(status, 400);
    assert!(refusal.problems.iter().any(|it| it.contains("imgae")), "{refusal:?}");
    assert!(refusal.problems.iter().any(|it| it.contains("schedule")), "{refusal:?}");
    assert!(refusal.problems.len() >= 3, "{refusal:?}");
    assert_eq!(record(&site, "hi"), None);
    // What reads but cannot be carried out.
    let text =
        format!("{JOB}\n---\n{}", "{kind: Cron, name: c, schedule: '0 0 31 2 *', job: {image: a}}");
    let (status, refusal) = refused(site.apply(&text).await);
    assert_eq!((status, record(&site, "hi")), (400, None), "{refusal:?}");
    assert!(refusal.problems[0].starts_with("cron default/c: "), "{refusal:?}");
    check_refused(site.apply("").await, 400, "nothing in the manifest");
    let bad = Apply { text: JOB.into(), namespace: "../x".into(), lenient: false };
    let answer: Result<mason::api::wire::Applied, _> = site.client.post("/v1/apply", &bad).await;
    check_refused(answer, 400, "namespace: `../x`");
}

/// A job whose template was swapped half-way would be two jobs; whoever tries is told what to do.
async fn what_cannot_change_says_what_to_do(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(JOB).await.unwrap();
    let other = JOB.replace("busybox", "alpine");
    let (status, refusal) = refused(site.apply(&other).await);
    assert_eq!(status, 409);
    assert!(refusal.error.contains("delete it first"), "{refusal:?}");
    assert_eq!(refusal.problems, ["task.image: cannot change once the job is there"]);
    // What can change does.
    site.apply(&JOB.replace("name: hi", "name: hi, priority: 5")).await.unwrap();
    let now = record(&site, "hi").unwrap();
    assert!(matches!(&now.work, Work::Job(job) if job.priority == 5));
    assert_eq!(now.generation, 2);
    check_refused(site.apply(&WEB.replace("web,", "hi,")).await, 409, "cannot become a service");
}

/// Two people change one service at once: each change is decided on the other's, none is lost.
async fn applies_that_race_all_count(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(WEB).await.unwrap();
    let scale = |replicas| {
        let change = Change { replicas: Some(replicas), ..Change::default() };
        site.verb("web", "scale", change)
    };
    let (a, b, c, d) = tokio::join!(scale(3), scale(4), scale(5), scale(6));
    for answer in [a, b, c, d] {
        assert!(answer.unwrap().revision > 0);
    }
    assert_eq!(record(&site, "web").unwrap().generation, 5);
}

/// A new object that takes over the runs of an old one of its name would be two in one.
async fn a_name_is_free_only_when_its_object_is_gone(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    site.apply(JOB).await.unwrap();
    // It is bound to a node where no agent will ever say that it stopped.
    site.shows(|mirror| mirror.job(&key("hi"))?.tasks.get(&0).cloned()).await;
    site.verb("hi", "delete", Change::default()).await.unwrap();
    check_refused(site.apply(JOB).await, 409, "is being deleted; 1 of its tasks");
    check_refused(site.verb("hi", "suspend", Change::default()).await, 409, "is being deleted");
    let again = site.verb("hi", "delete", Change::default()).await.unwrap();
    assert_eq!(again.revision, 0);
}

/// Argo's own example has no name: who submits it must learn what it is called.
async fn generated_names_are_written_out(kind: Kind) {
    let site = Site::start(kind).await;
    let text = JOB.replace("name: hi", "generateName: hi-");
    let (one, two) = (site.apply(&text).await.unwrap(), site.apply(&text).await.unwrap());
    let (one, two) = (&one.objects[0].key, &two.objects[0].key);
    assert!(one != two && one.name.starts_with("hi-") && one.name.len() == 8, "{one} {two}");
    assert!(record(&site, &one.name).is_some());
}

/// A client that follows one job asks once a change, and not once a second.
async fn news_are_waited_for(kind: Kind) {
    let site = Site::start(kind).await;
    site.apply(JOB).await.unwrap();
    let get = async |after: i64| {
        let path = format!("/v1/objects/default/hi?after={after}");
        site.client.get::<Detail>(path).await.unwrap()
    };
    let active =
        |detail: &Detail| detail.state.as_ref().is_some_and(|state| state.phase == Phase::Active);
    let mut detail = get(0).await;
    while !active(&detail) {
        detail = get(detail.revision).await;
    }
    // Nothing happens until somebody does something.
    let (news, _) = tokio::join!(get(detail.revision), async {
        site.verb("hi", "suspend", Change::default()).await.unwrap()
    });
    assert!(news.revision > detail.revision);
    assert_eq!(news.record.generation, 2);
    site.verb("hi", "delete", Change::default()).await.unwrap();
    let mut after = news.revision;
    loop {
        let path = format!("/v1/objects/default/hi?after={after}");
        match site.client.get::<Detail>(path).await {
            Ok(detail) => after = detail.revision,
            Err(error) => break assert!(error.is_not_found(), "{error}"),
        }
    }
}
