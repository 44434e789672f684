//! `rollcall capacity`: two tables, a plot and an advice.

use crate::harness::Home;

fn rows<'a>(stdout: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let table = stdout.split_once(header).expect(header).1;
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[tokio::test]
async fn capacity_measures_every_number_of_lanes_and_tells_what_each_cost_would_do() {
    let home = Home::new();
    let arguments = ["capacity", "--svg", "plot.svg", "--logins-per-second", "1", "--latency-ms", "60000"];
    let exit = home.program(&arguments).env("ROLLCALL__HASHING__ENGINES", "1").run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let lanes = rows(&exit.stdout, "| engines | lanes |");
    assert_eq!(lanes.iter().map(|row| row[1]).collect::<Vec<_>>(), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert!(lanes.iter().all(|row| row[2].parse::<f64>().unwrap() > 0.0), "{lanes:?}");
    let costs = rows(&exit.stdout, "| cost | logins/s |");
    assert_eq!(costs.iter().map(|row| row[0].parse().unwrap()).collect::<Vec<u8>>(), (4..=15).collect::<Vec<_>>());
    let rates: Vec<f64> = costs.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(rates.is_sorted_by(|a, b| a > b), "each cost takes twice the time of the one before: {rates:?}");
    let svg = std::fs::read_to_string(home.path().join("plot.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("lanes") && svg.contains("logins/s wished"), "{svg}");
    assert!(exit.stdout.contains("plot: plot.svg"), "{exit:?}");
    assert!(exit.stdout.lines().last().unwrap().contains("cost"), "{exit:?}");
}

#[tokio::test]
async fn a_plot_that_cannot_be_written_is_an_error_that_says_so() {
    let home = Home::new();
    let start = home.program(&["capacity", "--svg", "no/such/place.svg"]);
    let exit = start.env("ROLLCALL__HASHING__ENGINES", "1").run().await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert_eq!(exit.stdout, "", "before anything is measured");
    assert!(exit.stderr.contains("no/such/place.svg") && exit.stderr.contains("--svg"), "{exit:?}");
}
