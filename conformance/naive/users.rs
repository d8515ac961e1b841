//! Users and numbers, believed as they come.

use std::fs;

use serde_json::Value;

/// A number cut to 32 bits, as a cast does.
pub(crate) fn cut(value: &Value) -> u32 {
    let whole = match value {
        Value::Number(number) if number.is_f64() => {
            format!("{:.0}", number.as_f64().unwrap_or_default().trunc()).parse().unwrap_or(0)
        }
        Value::Number(number) => number.to_string().parse().unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0_i128),
        _ => 0,
    };
    u32::try_from(whole.rem_euclid(1 << 32)).unwrap_or(0)
}

/// Text up to its first NUL, as C has it.
pub(crate) fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default().split('\0').next().unwrap_or_default()
}

/// The strings of a list, each up to its first NUL.
pub(crate) fn texts(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().map(|item| text(Some(item))).collect()
}

/// The fields of the user's line in the image's passwd; the whole file is read, whatever it is.
fn line(root: &str, user: &str) -> Result<Option<Vec<String>>, String> {
    // As a C library does: how names are looked up is read from the image first.
    let _ = fs::read(format!("{root}/etc/nsswitch.conf"));
    let path = format!("{root}/etc/passwd");
    if fs::symlink_metadata(&path).is_err() {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let content = String::from_utf8_lossy(&bytes);
    let lines: Vec<Vec<String>> =
        content.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect();
    Ok(lines.into_iter().find(|fields| {
        fields.first().is_some_and(|name| name == user)
            || fields.get(2).is_some_and(|uid| uid == user)
    }))
}

/// The home of a user.
pub(crate) fn home(root: &str, user: u32) -> Result<String, String> {
    let found = line(root, &user.to_string())?;
    Ok(found.and_then(|fields| fields.get(5).cloned()).unwrap_or_else(|| "/".to_owned()))
}

/// User and group of `--user`: a name of the image's passwd, also where it looks like a number.
pub(crate) fn parse(root: &str, words: &str) -> Result<(u32, u32), String> {
    let (user, group) = words.split_once(':').unwrap_or((words, "0"));
    let found = line(root, user)?;
    let uid = found.and_then(|fields| fields.get(2).cloned()).unwrap_or_else(|| user.to_owned());
    Ok((cut(&Value::from(uid)), cut(&Value::from(group))))
}
