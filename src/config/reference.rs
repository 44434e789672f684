//! The reference of configuration keys, as a Markdown document. Keys, defaults and descriptions come from the defaults;
//! what a key accepts comes from the code that reads it.

use super::layers::{DEBUG_FILTER, DEBUG_KEY, Layers, SEED_VARIABLES, variable};
use super::{Config, ConfigError, DEFAULTS};

const TITLE: &str = "\
<!-- Printed by `rollcall defaults --markdown`. Change config/rollcall.toml or the code below src/config instead. -->

# Configuration

Rollcall runs without any configuration. `rollcall defaults` prints every key with its default as a TOML file to start from.

## Where values come from

Each layer replaces values of the layers above it:

1. The defaults, which the tables below list.
2. The TOML file of `--config FILE`.
3. The variable `ROLLCALL__SECTION__KEY` of a key, in upper case and with two underscores between the parts:";

const VARIABLES: &str = "\
4. The five variables of the Python service, where they are not empty:

| variable | sets |
|---|---|";

const RULES: &str = "\
Variables of layers 3 and 4 come from the environment and from a `.env` file in the working directory. If both set the same
variable, the environment wins, also with an empty value. Layer 4 goes over layer 3 in either case: `DATABASE_URL` in `.env`
goes over `ROLLCALL__DATABASE__URL` in the environment.

- An unknown key, an unknown `ROLLCALL__` variable and a value that its key does not accept fail the start. One line on standard
  error names the key, where the value came from, and the remedy.
- An empty `ROLLCALL__` variable sets an empty text, which numbers and switches refuse. An empty variable of layer 4 sets nothing.
- Rollcall skips a line of `.env` that is out of syntax, and prints its number.
- A list is a TOML list of strings, or one text with commas between the items. In a variable it is always the text.
- Numbers are whole numbers. The end of a key names its unit: `_ms` milliseconds, `_s` seconds, `_bytes` bytes.
- `rollcall check` reads all layers and reports the first mistake. A running service needs a restart to read them again.";

/// A section of the defaults.
struct Section<'a> {
    /// Empty for the keys above all sections.
    name: &'a str,
    about: String,
    keys: Vec<Key<'a>>,
}

struct Key<'a> {
    name: &'a str,
    default: &'a str,
    about: String,
}

/// The document that lists every key with its default, what it accepts and what it does.
///
/// # Errors
/// [`ConfigError`] if the defaults do not hold, which a test excludes.
pub fn reference() -> Result<String, ConfigError> {
    let mut layers = Layers::defaults()?;
    // Its default depends on the machine; without a home directory there is none.
    layers.set_text("data_dir", "data", "the reference")?;
    // Reading a key records what it accepts.
    Config::from_layers(&layers)?;
    let example = format!(
        "   `{}=12` sets `hashing.cost`, `{}` sets `data_dir`.",
        variable("hashing.cost"),
        variable("data_dir")
    );
    let mut lines = vec![TITLE.to_owned(), example, VARIABLES.to_owned()];
    lines.extend(SEED_VARIABLES.iter().map(|(name, key)| format!("| `{name}` | `{key}` |")));
    lines.push(format!("| `DEBUG` | `{DEBUG_KEY}` to `{DEBUG_FILTER}`, if it is `True`; `False` sets nothing |\n"));
    lines.push(RULES.to_owned());
    for section in sections() {
        lines.push(table(&section, &layers));
    }
    Ok(lines.join("\n"))
}

fn table(section: &Section<'_>, layers: &Layers) -> String {
    let Section { name, about, keys } = section;
    let heading = if name.is_empty() { "Top level".to_owned() } else { format!("`[{name}]`") };
    let mut lines = vec![format!("\n## {heading}\n")];
    if !about.is_empty() {
        lines.push(format!("{about}\n"));
    }
    lines.push("| key | default | accepts | meaning |\n|---|---|---|---|".to_owned());
    for Key { name: key, default, about } in keys {
        let path = if name.is_empty() { (*key).to_owned() } else { format!("{name}.{key}") };
        let accepted = layers.accepted(&path).unwrap_or_default();
        lines.push(format!("| `{key}` | `{default}` | {accepted} | {} |", about.replace('|', "\\|")));
    }
    lines.join("\n")
}

/// The sections of the defaults. Comments directly above a section or a key, or behind a key, describe it.
fn sections() -> Vec<Section<'static>> {
    let (mut done, mut comment) = (Vec::new(), Vec::new());
    let mut section = Section { name: "", about: String::new(), keys: Vec::new() };
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(name) = line.strip_prefix('[') {
            let next = Section { name: name.trim_end_matches(']'), about: comment.join(" "), keys: Vec::new() };
            done.push(std::mem::replace(&mut section, next));
            comment.clear();
        } else if let Some((name, rest)) = line.split_once(" = ") {
            let (default, behind) = rest.split_once(" # ").unwrap_or((rest, ""));
            comment.extend(Some(behind.trim()).filter(|text| !text.is_empty()));
            section.keys.push(Key { name, default: default.trim(), about: comment.join(" ") });
            comment.clear();
        } else {
            comment.clear();
        }
    }
    done.push(section);
    done
}
