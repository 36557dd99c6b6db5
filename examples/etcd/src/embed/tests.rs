//! A host starts a member, uses it, stops it, and starts it again.

use std::net::TcpListener;

use drystone_etcd_api::client::{self, Client};
use drystone_etcd_api::etcdserverpb::{MemberListRequest, PutRequest, RangeRequest};

use super::{Error, Member, Options};

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

async fn connect(member: &Member) -> Client {
    client::connect(member.client_url(), &client::Config::default()).await.unwrap()
}

async fn put(member: &Member, key: &'static str, value: &'static str) {
    let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
    connect(member).await.kv().put(put).await.unwrap();
}

async fn get(member: &Member, key: &'static str) -> Option<String> {
    let range = RangeRequest { key: key.into(), ..RangeRequest::default() };
    let answer = connect(member).await.kv().range(range).await.unwrap().into_inner();
    answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

/// What a host was promised to be kept is there after a stop, wherever the next one listens.
#[test]
fn data_survive_a_stop_and_a_change_of_ports() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("store"));
    for round in 0..3 {
        let member = Member::start(&options).unwrap();
        let before = run(get(&member, "k"));
        assert_eq!(before.is_some(), round > 0, "round {round}");
        run(put(&member, "k", "v"));
        assert!(!member.has_ended());
        member.stop().unwrap();
    }
}

/// Clients that ask who the members are must be sent to a port that somebody listens on.
#[test]
fn the_ports_that_the_system_chose_are_advertised() {
    let folder = tempfile::tempdir().unwrap();
    let member = Member::start(&Options::new(folder.path())).unwrap();
    let ask = async {
        let mut cluster = connect(&member).await.cluster();
        cluster.member_list(MemberListRequest::default()).await.unwrap().into_inner().members
    };
    let members = run(ask);
    assert_eq!(members[0].client_ur_ls, [member.client_url()]);
    assert!(!members[0].peer_ur_ls[0].ends_with(":0"), "{members:?}");
    assert!(!member.client_url().ends_with(":0"));
}

/// Tests run side by side in one process; their stores must not meet, nor look alike.
#[test]
fn two_members_in_one_process_are_two_stores() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str| Member::start(&Options::new(folder.path().join(name))).unwrap();
    let (one, two) = (start("one"), start("two"));
    run(async {
        put(&one, "k", "one").await;
        put(&two, "k", "two").await;
        assert_eq!(get(&one, "k").await.as_deref(), Some("one"));
        assert_eq!(get(&two, "k").await.as_deref(), Some("two"));
    });
    // One that is stopped leaves the other alone.
    one.stop().unwrap();
    assert_eq!(run(get(&two, "k")).as_deref(), Some("two"));
}

/// A host that does everything asynchronously starts its store from where it is.
#[test]
fn a_thread_that_runs_tasks_can_start_and_stop_a_member() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let member = Member::start(&Options::new(folder.path())).unwrap();
        put(&member, "k", "v").await;
        member.stop().unwrap();
    });
}

/// A port that is taken is said by its number, and what was opened before is let go.
#[test]
fn a_start_that_fails_says_why_and_leaves_the_data_free() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = Options::new(folder.path());
    options.client = taken.local_addr().unwrap();
    let error = Member::start(&options).unwrap_err();
    let Error::Failed { source, .. } = &error else { panic!("{error:?}") };
    assert!(format!("{source}").contains(&options.client.to_string()), "{source}");
    drop(taken);
    Member::start(&options).unwrap().stop().unwrap();
}

/// Two members on one directory would destroy it.
#[test]
fn a_directory_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    let first = Member::start(&options).unwrap();
    let error = Member::start(&options).unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    run(put(&first, "k", "v"));
    first.stop().unwrap();
    Member::start(&options).unwrap().stop().unwrap();
}

/// A flag with a typing error is named, before anything is touched.
#[test]
fn wrong_flags_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path().join("never"));
    options.flags = vec!["--quota-backend-byte=7".to_owned()];
    let Err(Error::Flags(reason)) = Member::start(&options) else { panic!("it started") };
    assert!(reason.contains("quota-backend-byte"), "{reason}");
    assert!(!options.data_dir.exists());
}
