//! Changes after one that was cut short, or that could not be taken back.

use super::*;

#[tokio::test]
async fn a_resumed_change_that_fails_goes_back_to_the_file_before_the_first() {
    let world = World::new(BEFORE);
    // Killed after the file was replaced.
    assert!(killed(&world, &made(), 5, "after").await);
    assert!(world.text().contains("VNET_2"));
    world.fault("nonat");
    let error = world.apply(&format!("{}{RESERVATION}", world.text())).await.unwrap_err();
    assert!(matches!(error, HostError::Network { after: Aftermath::AsBefore, .. }), "{error}");
    assert!(world.text().starts_with(BEFORE) && !world.text().contains("VNET_2"), "{}", world.text());
    assert!(world.is_clean() && world.running() == ["8 DHCP"]);
}

#[tokio::test]
async fn what_ran_before_the_first_of_several_changes_must_run_again() {
    let world = World::new(BEFORE);
    world.fault("no8");
    for _ in 0..2 {
        // The second time nothing runs any more that could be missed.
        let error = world.apply(&format!("{}{NETWORK}", world.text())).await.unwrap_err();
        assert!(matches!(error, HostError::Network { after: Aftermath::Unsettled, .. }), "{error}");
        assert_eq!(world.pending().ran, [(8, Service::Dhcp)]);
    }
    world.fault("");
    world.apply(&format!("{}{NETWORK}", world.text())).await.unwrap();
    assert!(world.is_clean() && world.running() == ["2 DHCP", "2 NAT", "8 DHCP"], "{:?}", world.running());
}

#[tokio::test]
async fn a_resumed_change_never_undoes_what_others_changed_meanwhile() {
    let world = World::new(BEFORE);
    assert!(killed(&world, &made(), 5, "after").await);
    let now = format!("{}answer VNET_9_HOSTONLY_SUBNET 172.16.9.0\n", world.text());
    world.fake.write(&world.fake.fusion().networking(), &now);
    world.fault("nonat");
    world.apply(&format!("{now}{RESERVATION}")).await.unwrap_err();
    assert!(world.text().contains("VNET_9"), "{}", world.text());
}

#[tokio::test]
async fn a_damaged_backup_of_an_unfinished_change_is_told_and_not_taken() {
    let world = World::new(BEFORE);
    assert!(killed(&world, &made(), 5, "before").await);
    let backup = world.networks.backups().unwrap().remove(0);
    files::write_atomic(&backup.path, b"VERSION=1,0\n", 0o600).unwrap();
    let before = world.text();
    world.fault("nonat");
    world.apply(&made()).await.unwrap_err();
    // That its own way back fails in the same way leaves it unfinished.
    assert!(world.text().starts_with(&before), "not the damaged backup: {}", world.text());
    world.fault("");
    let text = world.text();
    let applied = world.apply(&format!("{text}{NETWORK}")).await.unwrap();
    assert!(
        applied.output.contains("the file from before the unfinished change is lost"),
        "{}",
        applied.output
    );
    assert!(world.is_clean(), "and the change is seen through");
}
