//! Each way of having no bytes has its own error, and each says what to do.

use std::path::Path;

use super::*;

#[track_caller]
fn check(result: Result<Component, SourceError>, first_line: &str) {
    let text = result.expect_err("there is nothing to load").to_string();
    let (line, help) = text.split_once('\n').expect("two lines");
    assert_eq!(line, first_line);
    assert!(help.starts_with("help: ") && !help.ends_with('.'), "{help}");
}

#[test]
fn references_read_back() {
    for text in ["builtin:notify", "policies/x.wasm", "/a b/c.wasm"] {
        assert_eq!(Module::parse(text).to_string(), text);
    }
    assert_eq!(Module::parse("builtin:notify"), Module::Builtin("notify".to_owned()));
}

#[test]
fn files_that_hold_no_component() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.wasm");
    let shown = path.display();
    check(file::read(&path, 10), &format!("there is no file `{shown}`"));
    check(file::read(&path.join("y"), 10), &format!("there is no file `{shown}/y`"));
    std::fs::write(&path, b"").expect("written");
    check(file::read(&path, 10), &format!("`{shown}` is empty"));
    check(file::read(&path.join("y"), 10), &format!("there is no file `{shown}/y`"));
    std::fs::write(&path, b"12345678901").expect("written");
    check(file::read(&path, 10), &format!("`{shown}` is larger than 10 bytes"));
    check(
        file::read(folder.path(), 10),
        &format!("`{}` is a folder, not a component", folder.path().display()),
    );
    check(file::read(Path::new("/dev/zero"), 10), "`/dev/zero` is no regular file");
    std::fs::write(&path, b"1234567890").expect("written");
    assert_eq!(file::read(&path, 10).expect("fits").bytes, b"1234567890");
}

#[test]
fn built_in_policies_by_name() {
    check(builtin::find(&[], "x"), "`builtin:x` is not in this build, which has no built-in policies");
    let table: &[(&str, &[u8])] = &[("a", b"A"), ("b", b"B")];
    check(builtin::find(table, "x"), "there is no built-in policy `x`");
    assert_eq!(builtin::find(table, "b").expect("there").bytes, b"B");
}

#[test]
fn a_pinned_digest_is_checked() {
    let component = Component::from_bytes("x", b"abc".to_vec()).expect("not empty");
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(component.digest.as_str(), abc);
    assert!(component.clone().expect("x", &Digest::new(abc)).is_ok());
    let other = Digest::new(abc.replace("ba78", "0000"));
    check(component.expect("x", &other), &format!("`x` has digest `{abc}`, and `{other}` is pinned"));
    check(Component::from_bytes("ConfigMap a/b", Vec::new()), "`ConfigMap a/b` is empty");
}
