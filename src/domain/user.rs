//! Users: those who want to register, and those who have.

use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Violation;
use super::email::Email;
use super::name::Name;
use super::password::Password;

/// A registered user, as others may see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// UUID v4.
    pub id: Uuid,
    /// Display name.
    pub name: Name,
    /// Address, unique among users.
    pub email: Email,
    /// When the account was made.
    pub created_at: OffsetDateTime,
}

/// A user together with what their password is checked against.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user.
    pub user: User,
    /// The hash as the database holds it, which need not be a bcrypt hash.
    pub password_hash: PasswordHash,
}

/// A stored password hash. Redacted in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A registration whose every field has passed its rules.
#[derive(Debug)]
pub struct NewUser {
    /// Display name.
    pub name: Name,
    /// Address that nobody may have yet.
    pub email: Email,
    /// Chosen password.
    pub password: Password,
}

/// The three fields of a registration, each as the client sent it, or why it is not even a string.
#[derive(Debug)]
pub struct RegistrationFields {
    /// `name`.
    pub name: Result<Zeroizing<String>, NotText>,
    /// `email`.
    pub email: Result<Zeroizing<String>, NotText>,
    /// `password`.
    pub password: Result<Zeroizing<String>, NotText>,
}

/// A JSON field that holds no string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Absent or null.
    #[error("is required")]
    Missing,
    /// A number, boolean, array or object.
    #[error("must be a string")]
    OtherType,
}

impl NewUser {
    /// Parses all three fields.
    ///
    /// # Errors
    /// Every rule that any field breaks, in the order name, email, password.
    pub fn parse(fields: RegistrationFields) -> Result<Self, Vec<Violation>> {
        let name = text("name", fields.name).and_then(|text| Name::parse(&text).map_err(all("name")));
        let email = text("email", fields.email).and_then(|text| Email::parse(&text).map_err(all("email")));
        let password =
            text("password", fields.password).and_then(|text| Password::choose(text).map_err(all("password")));
        match (name, email, password) {
            (Ok(name), Ok(email), Ok(password)) => Ok(Self { name, email, password }),
            (name, email, password) => {
                Err([name.err(), email.err(), password.err()].into_iter().flatten().flatten().collect())
            }
        }
    }
}

/// Says of each error that it is `field`'s.
fn all<E: fmt::Display>(field: &'static str) -> impl FnOnce(Vec<E>) -> Vec<Violation> {
    move |broken| broken.into_iter().map(|error| Violation::new(field, error)).collect()
}

fn text(field: &'static str, input: Result<Zeroizing<String>, NotText>) -> Result<Zeroizing<String>, Vec<Violation>> {
    input.map_err(|e| vec![Violation::new(field, e)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_tells_its_broken_rules() {
        let fields = RegistrationFields {
            name: Ok(Zeroizing::new("  ".into())),
            email: Err(NotText::Missing),
            password: Ok(Zeroizing::new("abcdefgh".into())),
        };
        let broken = NewUser::parse(fields).err().unwrap_or_default();
        let told: Vec<_> = broken.iter().map(|v| (v.field, v.message.as_str())).collect();
        assert_eq!(
            told,
            [
                ("name", "must not be empty"),
                ("email", "is required"),
                ("password", "must contain an upper-case letter"),
                ("password", "must contain a digit"),
            ]
        );
    }
}
