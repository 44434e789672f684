//! Many users beside few: what a statement takes per request, as the service itself counts it.

use std::time::Duration;

use crate::load::postgres::Postgres;
use crate::load::requests::Requests;
use crate::load::service::Service;
use crate::load::stage::Stage;
use crate::load::table::Target::AtMost;
use crate::load::table::{Figure, Goal, Table, compare};
use crate::load::users::{PASSWORD, sign};
use crate::load::{Outcome, closed};

const LOOKUP: Goal =
    Goal { what: "lookup by id among many users, against among 10,000", unit: "×", target: AtMost(1.5) };
const LOGIN: Goal = Goal { what: "the same of a login's lookup by email", unit: "×", target: AtMost(1.5) };
const INSERT: Goal = Goal { what: "the same of a registration's insert", unit: "×", target: AtMost(1.5) };

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
const HUGE: u64 = 10_000_000;
/// The password that the populate example gives to everybody.
const POPULATED: &str = "Populate-2-Day";
/// Users that are asked for, spread over all there are.
const SAMPLE: u64 = 50_000;
const CONNECTIONS: usize = 64;
/// More than any machine registers in a second.
const REGISTRATIONS_PER_SECOND: u64 = 25_000;
const WARMUP: Duration = Duration::from_secs(1);
/// Statements, in the order of the goals.
const STATEMENTS: [&str; 3] = ["find_by_id", "find_by_email", "insert"];

pub(super) async fn measure(stage: &Stage, table: &mut Table) {
    table.measure("reads/growth", [LOOKUP, LOGIN, INSERT], async || growth(stage).await).await;
}

async fn growth(stage: &Stage) -> Outcome<[Figure; 3]> {
    let Some(dir) = &stage.options.huge else {
        let server = stage.postgres().await?;
        return beside_few(stage, server, Crowd::make(stage, server, "many", MANY).await?).await;
    };
    let server = Postgres::start(dir).await?;
    let figures = match Crowd::find(stage, &server, "postgres", HUGE).await {
        Ok(many) => beside_few(stage, &server, many).await,
        Err(error) => Err(error),
    };
    server.stop().await;
    figures
}

async fn beside_few(stage: &Stage, server: &Postgres, many: Crowd) -> Outcome<[Figure; 3]> {
    let few = Crowd::make(stage, server, "few", FEW).await?;
    let (mut ours, mut theirs) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for round in 0..stage.options.rounds(3) {
        for (crowd, all) in [(&few, &mut theirs), (&many, &mut ours)] {
            for (times, took) in all.iter_mut().zip(crowd.ask(stage, round).await?) {
                times.push(took * 1e6);
            }
        }
    }
    let users = format!(", {} users", many.count);
    few.service.process.stop().await?;
    many.service.process.stop().await?;
    let [lookup, login, insert] = std::array::from_fn(|at| {
        let side = |all: &[Vec<f64>; 3]| all.get(at).cloned().unwrap_or_default();
        compare(&side(&ours), &side(&theirs), " µs").with(&users)
    });
    Ok([lookup, login, insert])
}

/// A service and its users.
struct Crowd {
    service: Service,
    count: u64,
    profiles: Requests,
    logins: Requests,
}

impl Crowd {
    /// A database of so many users.
    async fn make(stage: &Stage, server: &Postgres, name: &str, count: u64) -> Outcome<Self> {
        stage.new_database(server, name).await?;
        let client = server.connect(name).await?;
        let insert = "INSERT INTO users (user_id, name, email, password_hash)
            SELECT gen_random_uuid(), 'User ' || n, 'user' || n || '@example.com', $1 FROM generate_series(1, $2::bigint) n";
        client.execute(insert, &[&bcrypt::hash(PASSWORD, 4)?, &i64::try_from(count)?]).await?;
        client.batch_execute("VACUUM ANALYZE users").await?;
        Self::of(stage, server, name, count, PASSWORD).await
    }

    /// A database that holds so many users already.
    async fn find(stage: &Stage, server: &Postgres, name: &str, count: u64) -> Outcome<Self> {
        let client = server.connect(name).await?;
        let last = format!("user{count}@example.com");
        if client.query_opt("SELECT FROM users WHERE email = $1", &[&last]).await?.is_none() {
            return Err(format!("--huge: there are fewer than {count} users; see benches/README.md").into());
        }
        Self::of(stage, server, name, count, POPULATED).await
    }

    async fn of(stage: &Stage, server: &Postgres, name: &str, count: u64, password: &str) -> Outcome<Self> {
        let client = server.connect(name).await?;
        // Ordered by what is random in them.
        let sample = "SELECT user_id::text, email::text FROM users
            WHERE email = ANY(SELECT 'user' || n || '@example.com' FROM generate_series(1, $1::bigint, $2::bigint) n)
            ORDER BY user_id";
        let every = (count / SAMPLE).max(1);
        let rows = client.query(sample, &[&i64::try_from(count)?, &i64::try_from(every)?]).await?;
        let users: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let emails: Vec<_> = users.iter().map(|(_, email)| email.clone()).collect();
        let url = server.url("postgresql", name);
        let own = [("ROLLCALL__HASHING__COST", "4")];
        let service = Service::start_with(&stage.dir("service")?, Some(&url), &own).await?;
        Ok(Self {
            count,
            profiles: Requests::profiles(service.addr, &sign(users.into_iter())?),
            logins: Requests::logins(service.addr, &emails, password),
            service,
        })
    }

    /// Seconds of a statement per request that it answers, for each of [`STATEMENTS`].
    async fn ask(&self, stage: &Stage, round: usize) -> Outcome<[f64; 3]> {
        let window = stage.options.seconds(3);
        let count = usize::try_from(REGISTRATIONS_PER_SECOND * (window + WARMUP).as_secs())?;
        let registrations =
            Requests::registrations(self.service.addr, &format!("grown{}.{round}.", std::process::id()), count);
        let mut times = [0.0; 3];
        for ((requests, statement), time) in
            [&self.profiles, &self.logins, &registrations].into_iter().zip(STATEMENTS).zip(&mut times)
        {
            let before = self.service.metrics().await?;
            let report = closed::run(requests, CONNECTIONS, WARMUP, window).await?;
            let words = report.unserved();
            if !words.is_empty() {
                return Err(format!("of the requests for {statement}{words}").into());
            }
            let (after, label) = (self.service.metrics().await?, format!(r#"{{statement="{statement}"}}"#));
            let statement_time = after.mean_since(&before, "rollcall_db_statement_duration_seconds", &label);
            *time = statement_time / after.mean_since(&before, "rollcall_db_batch_size", &label);
        }
        Ok(times)
    }
}
