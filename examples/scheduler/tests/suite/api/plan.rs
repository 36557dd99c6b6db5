//! Plan: what it says is what an apply does.

use mason::api::wire::{Apply, Outcome, Planned, Planned as Plan};
use mason_core::types::NodeId;

use super::{Site, check_refused, key};
use crate::support::Kind;

on_both! {
    a_plan_tells_what_would_change_and_changes_nothing
    a_plan_tells_where_tasks_would_go
    a_plan_counts_what_would_begin_and_no_more
}

async fn plan(site: &Site, text: &str) -> Result<Planned, mason::api::client::ClientError> {
    let (text, namespace) = (text.to_owned(), "default".to_owned());
    site.client.post("/v1/plan", &Apply { text, namespace, lenient: false }).await
}

const WEB: &str = "{kind: Service, name: web, image: 'web:1', replicas: 2, env: {A: '1'}}";

/// Whoever looks before they leap must not have leapt.
async fn a_plan_tells_what_would_change_and_changes_nothing(kind: Kind) {
    let site = Site::start(kind).await;
    let planned = plan(&site, WEB).await.unwrap();
    assert_eq!(planned.objects[0].object.outcome, Outcome::Created);
    assert!(site.shared.read(|mirror| mirror.job(&key("web")).is_none()));
    site.apply(WEB).await.unwrap();
    let same = plan(&site, WEB).await.unwrap();
    assert_eq!(same.objects[0].object.outcome, Outcome::Unchanged);
    assert!(same.objects[0].changes.is_empty());
    let other = WEB.replace("web:1", "web:2").replace("A: '1'", "A: '2'").replace("s: 2", "s: 3");
    let planned = plan(&site, &other).await.unwrap();
    let shown: Vec<String> = planned.objects[0]
        .changes
        .iter()
        .map(|it| format!("{} {:?} {:?}", it.path, it.before.as_deref(), it.after.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            "replicas Some(\"2\") Some(\"3\")",
            "task.env[0].value.text Some(\"\\\"1\\\"\") Some(\"\\\"2\\\"\")",
            "task.image Some(\"\\\"web:1\\\"\") Some(\"\\\"web:2\\\"\")",
        ]
    );
    check_refused(plan(&site, "{kind: Job, name: a}").await, 400, "image");
    let generation = |site: &Site| {
        site.shared
            .read(|it| it.job(&key("web")).unwrap().record.as_ref().unwrap().value.generation)
    };
    assert_eq!(generation(&site), 1);
}

/// The second object of a text has less room than the first; and a plan leaves no trace.
async fn a_plan_tells_where_tasks_would_go(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    site.node("n2", 2000, "127.0.0.1:1").await;
    let text = "{kind: Job, name: a, image: a, array: {size: 3}, resources: {cpu: 2}}
---
{kind: Service, name: b, image: a, replicas: 1, resources: {cpu: 1}}
";
    for _ in 0..3 {
        let Plan { objects } = plan(&site, text).await.unwrap();
        let [a, b] = &objects[..] else { panic!("two objects: {objects:?}") };
        let places: Vec<(&NodeId, u32)> =
            a.placements.iter().map(|it| (&it.node, it.count)).collect();
        assert_eq!(places, [(&"n1".into(), 2), (&"n2".into(), 1)]);
        assert!(a.waits.is_none() && b.placements.is_empty());
        let why = b.waits.as_ref().unwrap().to_string();
        assert!(why.contains("cpu short by 1"), "{why}");
    }
}

/// An update is not all replicas once more, what waits for another takes no room, and a partition
/// without a zone does not hold back the rest.
async fn a_plan_counts_what_would_begin_and_no_more(kind: Kind) {
    let site = Site::start(kind).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let placed = async |text: &str| -> Vec<u32> {
        let Plan { objects } = plan(&site, text).await.unwrap();
        let counts = objects.iter().map(|it| it.placements.iter().map(|it| it.count).sum());
        counts.collect()
    };
    let web = "{kind: Service, name: web, image: 'web:1', replicas: 3, resources: {cpu: 1}}";
    assert_eq!(placed(web).await, [3]);
    site.apply(web).await.unwrap();
    site.shows(|mirror| (mirror.node(&"n1".into())?.runs.len() == 3).then_some(())).await;
    assert_eq!(placed(&web.replace("web:1", "web:2")).await, [1]);
    assert_eq!(placed(&web.replace("replicas: 3", "replicas: 4")).await, [1]);
    assert_eq!(placed(&web.replace("replicas: 3", "replicas: 3, priority: 7")).await, [0]);
    let flow = "{kind: Job, name: b, image: a, dependsOn: [a], resources: {cpu: 1}}
---
{kind: Job, name: a, image: a, resources: {cpu: 1}}
";
    assert_eq!(placed(flow).await, [0, 1]);
    let cut = "{kind: Job, name: cut, image: a, array: {size: 2}, resources: {cpu: 500m},
        placement: {strategy: partition, partitions: 2}}";
    assert_eq!(placed(cut).await, [1]);
}
