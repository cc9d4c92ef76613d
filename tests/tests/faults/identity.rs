//! One key at two places, or without its data: nothing is signed twice.

use farthing_tests::processes::{Cluster, Launch, Options, PATIENCE, RESUME_MAX, audit};

const RATE: u32 = 100;

#[test]
fn a_second_start_with_the_same_data_refuses() {
    let cluster = Cluster::start(&Options::default());
    let load = cluster.load_of(RATE);
    for node in 0..2 {
        let mut second = Launch::plain().start(cluster.home(node));
        let status = second.wait_for_exit(PATIENCE).expect("it gives up");
        let said = second.said();
        assert_eq!(status.code(), Some(1), "{status}\n{said}");
        assert!(said.contains("in use by another process"), "{said}");
    }
    load.wait_for_more(50, RESUME_MAX);
    audit(&cluster, &load.stop());
}
