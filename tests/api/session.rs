//! The service among the sessions of its machine.

use std::fs;

use crate::harness::{EMAIL, Home, PASSWORD, TestDatabase, skip, until};

#[tokio::test]
async fn the_session_makes_way_while_every_engine_works_and_no_longer() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let service = home.serve_in_session(&db).env("ROLLCALL__HASHING__SESSION_NICENESS", "7");
    let service = service.env("ROLLCALL__HASHING__COST", "11").ready().await;
    service.register_john().await;
    let file = format!("/proc/{}/autogroup", service.program.pid.as_raw_nonzero());
    if !fs::exists(&file).unwrap() {
        return skip("this kernel knows no autogroups");
    }
    let is_nice = |niceness: &str| fs::read_to_string(&file).unwrap().trim_end().ends_with(niceness);
    until("an end of the registration", async || is_nice(" nice 0")).await;
    // One login after the other until it is seen: on a busy machine, a look may come too late for the first.
    let logins = async {
        loop {
            service.login(EMAIL, PASSWORD).await.expect_json(200);
        }
    };
    tokio::select! {
        () = logins => unreachable!("they never end"),
        () = until("a session that makes way", async || is_nice(" nice 7")) => {}
    }
    until("a session like others", async || is_nice(" nice 0")).await;
    service.stop().await;
}
