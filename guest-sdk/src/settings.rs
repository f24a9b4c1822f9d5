//! Reading settings by JSON Pointer.
//!
//! In: the settings of a chain entry, which the host has checked against the policy's schema and filled with its
//! defaults. Out: one value, or an error that names the pointer. A pointer that the schema does not promise is a fault
//! of the policy, so readers of single values fail instead of inventing a default.

use crate::{Error, Problem, Scalar, Settings};

impl Settings {
    /// The text at `pointer`.
    ///
    /// ```
    /// use refloat_policy::testing;
    ///
    /// let settings = testing::settings([("/give-up", "notify")]);
    /// assert_eq!(settings.text("/give-up"), Ok("notify"));
    /// ```
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&self, pointer: &str) -> Result<&str, Error> {
        match self.find(pointer) {
            Some(Scalar::Text(text)) => Ok(text),
            other => Err(unusable(pointer, "a text", other)),
        }
    }

    /// The whole number at `pointer`.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::settings([("/max", 3)]).integer("/max"), Ok(3));
    /// ```
    ///
    /// # Errors
    /// When there is none.
    pub fn integer(&self, pointer: &str) -> Result<i32, Error> {
        match self.find(pointer) {
            Some(Scalar::Integer(number)) => Ok(*number),
            other => Err(unusable(pointer, "a whole number", other)),
        }
    }

    /// The number at `pointer`, whole or not.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::settings([("/factor", 1.5)]).number("/factor"), Ok(1.5));
    /// ```
    ///
    /// # Errors
    /// When there is none.
    pub fn number(&self, pointer: &str) -> Result<f64, Error> {
        match self.find(pointer) {
            Some(Scalar::Number(number)) => Ok(*number),
            Some(Scalar::Integer(number)) => Ok(f64::from(*number)),
            other => Err(unusable(pointer, "a number", other)),
        }
    }

    /// The duration at `pointer`, in seconds. Its schema is a text with `"format": "duration"`.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::settings([("/base", 30)]).seconds("/base"), Ok(30));
    /// ```
    ///
    /// # Errors
    /// When there is none.
    pub fn seconds(&self, pointer: &str) -> Result<u32, Error> {
        match self.find(pointer) {
            Some(Scalar::Integer(seconds)) if *seconds >= 0 => Ok(seconds.unsigned_abs()),
            other => Err(unusable(pointer, "a duration in seconds", other)),
        }
    }

    /// `true` or `false` at `pointer`.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// assert_eq!(testing::settings([("/quiet", true)]).boolean("/quiet"), Ok(true));
    /// ```
    ///
    /// # Errors
    /// When there is none.
    pub fn boolean(&self, pointer: &str) -> Result<bool, Error> {
        match self.find(pointer) {
            Some(Scalar::Boolean(value)) => Ok(*value),
            other => Err(unusable(pointer, "`true` or `false`", other)),
        }
    }

    /// The texts of the list at `pointer`, in order. Empty when there is no such list: a list without elements has no
    /// leaves.
    ///
    /// ```
    /// # use refloat_policy::testing;
    /// let settings = testing::settings([("/classes/0", "quota"), ("/classes/1", "timeout")]);
    /// assert_eq!(settings.texts("/classes"), ["quota", "timeout"]);
    /// ```
    pub fn texts(&self, pointer: &str) -> Vec<&str> {
        self.values.iter().filter_map(|(path, value)| element_text(path, pointer, value)).collect()
    }

    /// The leaf at `pointer`, whatever it is.
    ///
    /// ```
    /// # use refloat_policy::{Scalar, testing};
    /// assert_eq!(testing::settings([("/max", 3)]).find("/max"), Some(&Scalar::Integer(3)));
    /// ```
    pub fn find(&self, pointer: &str) -> Option<&Scalar> {
        self.values.iter().find(|(path, _)| path == pointer).map(|(_, value)| value)
    }
}

/// The text of `value` when `path` is a direct element of the list at `pointer`.
fn element_text<'a>(path: &str, pointer: &str, value: &'a Scalar) -> Option<&'a str> {
    let index = path.strip_prefix(pointer)?.strip_prefix('/')?;
    match value {
        Scalar::Text(text) if index.bytes().all(|byte| byte.is_ascii_digit()) => Some(text),
        Scalar::Text(_) | Scalar::Null | Scalar::Boolean(_) | Scalar::Integer(_) | Scalar::Number(_) => None,
    }
}

fn unusable(pointer: &str, wanted: &str, found: Option<&Scalar>) -> Error {
    let found = if found.is_some() { "is something else" } else { "is missing" };
    Error::InvalidSettings(vec![Problem::new(pointer, format!("must be {wanted} and {found}"))])
}

impl Problem {
    /// Something wrong at a JSON Pointer: say what is wrong and what would be right, without a final dot.
    ///
    /// ```
    /// use refloat_policy::Problem;
    ///
    /// let problem = Problem::new("/cap", "must not be shorter than `base`");
    /// assert_eq!(problem.path, "/cap");
    /// ```
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Problem, testing};

    #[test]
    fn lists_are_told_from_their_neighbours() {
        let settings = testing::settings([("/a/0", "x"), ("/ab/0", "y"), ("/a/0/b", "z"), ("/a/name", "w")]);
        assert_eq!(settings.texts("/a"), ["x"]);
        assert!(settings.texts("/none").is_empty());
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_named() {
        let settings = testing::settings([("/max", "three")]);
        let problems = [settings.integer("/max"), settings.integer("/min")].map(|res| match res {
            Err(Error::InvalidSettings(problems)) => problems,
            other => unreachable!("{other:?}"),
        });
        let expected = [
            Problem::new("/max", "must be a whole number and is something else"),
            Problem::new("/min", "must be a whole number and is missing"),
        ];
        assert_eq!(problems.concat(), expected);
    }
}
