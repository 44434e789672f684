//! A load generator that speaks TLS with a library of its own.

use crate::harness::tls::{Authority, Files};
use crate::harness::{Home, run};

async fn loaded(args: &[&str]) -> String {
    let (home, files) = (Home::new(), Files::of(&Authority::new().sign()));
    let service = home
        .serve()
        .env("ROLLCALL__LIMITS__ENABLED", "false")
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
        .env("ROLLCALL__TELEMETRY__LOG_FILTER", "warn")
        .ready()
        .await;
    let url = format!("https://{}/", service.addr);
    let output = run("h2load", &[args, &["-n", "5000", "-c", "50", &url]].concat()).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 5000 2xx"), "{said}");
    assert_eq!(service.stop().await.code, Some(0));
    said
}

#[tokio::test]
async fn many_clients_of_http2_are_all_answered() {
    let said = loaded(&["-m", "10"]).await;
    assert!(said.contains("Application protocol: h2") && said.contains("TLS Protocol: TLSv1.3"), "{said}");
}

#[tokio::test]
async fn many_clients_of_http1_are_all_answered() {
    let said = loaded(&["--h1"]).await;
    assert!(said.contains("Application protocol: http/1.1") && said.contains("TLS Protocol: TLSv1.3"), "{said}");
}
