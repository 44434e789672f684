//! Requests per second of the profile endpoint: by wrk where it is installed, else by the generator here.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::requests::Requests;
use super::{Outcome, closed, tools};

/// Makes wrk send `GET /api/users/me` with each token of a file in turn.
const SCRIPT: &str = r#"
local requests, at = {}, 0
function init(arguments)
    for token in io.lines("TOKENS") do
        requests[#requests + 1] = wrk.format("GET", "/api/users/me", { Authorization = "Bearer " .. token })
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
"#;
/// Before the generator here counts; wrk has no such thing.
const WARMUP: Duration = Duration::from_millis(200);

/// What sends the requests.
pub(crate) fn generator() -> &'static str {
    if tools::find("wrk").is_some() { "wrk" } else { "own generator" }
}

/// Runs `connections` for `window`, with the files that wrk needs in `dir`.
pub(crate) async fn profiles(
    addr: SocketAddr,
    tokens: &[String],
    connections: usize,
    window: Duration,
    dir: &Path,
) -> Outcome<f64> {
    let Some(program) = tools::find("wrk") else {
        let report = closed::run(&Requests::profiles(addr, tokens), connections, WARMUP, window).await?;
        return match report.unserved() {
            words if words.is_empty() => Ok(report.rate()),
            words => Err(format!("of the requests{words}").into()),
        };
    };
    let (list, script) = (dir.join("tokens"), dir.join("profiles.lua"));
    std::fs::write(&list, tokens.join("\n"))?;
    std::fs::write(&script, SCRIPT.replace("TOKENS", &list.display().to_string()))?;
    tools::wrk(&program, &format!("http://{addr}/"), &script, connections, window).await
}
