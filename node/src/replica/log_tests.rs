use super::OutputLog;

fn released(log: &mut OutputLog<u32>) -> Vec<u32> {
    std::iter::from_fn(|| log.pop()).collect()
}

#[test]
fn outputs_wait_for_the_writes_ahead_of_them_and_no_others() {
    let mut log = OutputLog::new();
    log.push(1);
    let first = log.barrier();
    log.push(2);
    log.push(3);
    let second = log.barrier();
    log.push(4);
    assert_eq!(released(&mut log), [1]);
    assert_eq!(log.outstanding(), 2);
    log.done(first);
    assert_eq!(released(&mut log), [2, 3]);
    log.done(second);
    assert_eq!(released(&mut log), [4]);
    assert_eq!(log.outstanding(), 0);
}

#[test]
fn a_write_that_is_done_means_that_all_before_it_are() {
    let mut log = OutputLog::new();
    log.barrier();
    log.push(1);
    let second = log.barrier();
    log.push(2);
    log.done(second);
    assert_eq!(released(&mut log), [1, 2]);
}

#[test]
#[should_panic(expected = "not asked for")]
fn a_write_that_nobody_asked_for_is_a_bug() {
    OutputLog::<u32>::new().done(1);
}
