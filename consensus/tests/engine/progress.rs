//! Progress and agreement while nothing or little is wrong.

use crate::network::{Network, committee};
use bytes::Bytes;

#[test]
fn four_validators_commit_at_the_pace_of_the_network() {
    let mut network = Network::new(committee(4), 1);
    network.start_all();
    for second in 0..20 {
        network.submit(second % 4, Bytes::from(vec![second as u8; 100]));
        network.run_for(1_000);
    }
    for index in 0..4 {
        let status = network.status(index);
        println!("{status:?}");
        println!("{}", network.nodes[index].broadcasts.len());
    }
}
