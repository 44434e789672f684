//! What a connection costs that nobody uses.

use std::fs;

use rustix::process::Pid;

use crate::harness::tls::{Authority, Files, try_connect};
use crate::harness::{Api, Home, Wire, free_ports, until};

/// Until what is kept once, whatever the number, has been made.
const FIRST: usize = 200;
const MORE: usize = 600;
/// Of which the system's sockets are no part. Some 16 KB are usual; hyper's buffers, if they were kept, would be 30 more.
const MOST_EACH: usize = 32 * 1024;

/// Resident memory in bytes.
fn resident(pid: Pid) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn idle_connections_keep_no_buffers() {
    let (home, authority, [admin]) = (Home::new(), Authority::new(), free_ports());
    let files = Files::of(&authority.sign());
    let service = home
        .serve()
        .env("ROLLCALL__LIMITS__ENABLED", "false")
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
        .env("ROLLCALL__TELEMETRY__ADMIN_ADDR", &format!("127.0.0.1:{admin}"))
        .env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn")
        .ready()
        .await;
    let admin = Api::new(([127, 0, 0, 1], admin).into());
    let mut wires = Vec::new();
    let mut keep = async |count: usize| {
        for _ in wires.len()..count {
            let mut wire = Wire::over(try_connect(service.addr, authority.client(&["http/1.1"])).await.unwrap());
            wire.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            wire.answer().await.expect_json(200);
            wires.push(wire);
        }
        let idle = format!("\nrollcall_http_connections_idle {count}\n");
        until("idle connections", async || admin.get("/metrics").await.text().contains(&idle)).await;
        resident(service.program.pid)
    };
    let before = keep(FIRST).await;
    let each = keep(FIRST + MORE).await.saturating_sub(before) / MORE;
    println!("{each} bytes each");
    assert!(each < MOST_EACH, "{each} bytes each");
}
