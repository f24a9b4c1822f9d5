//! One form for the many spellings of a repository's address, so that two of the same repository compare equal.
//! In go addresses as people write them, out come texts to compare and to hash; what is no address stays as it is.
//! It must not look at objects. Limit: characters that Go's parser would escape anew stay as they are written.
//! Sources: `pkg/urls/{common,git,helm,image}.go`.

use std::sync::LazyLock;

use regex::Regex;

/// Hosts that all mean Docker Hub, whose name is left out.
const DOCKER_HUB: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "docker.io"];

/// `[user@]host[:path]` (`pkg/urls/git.go`, `scpSyntaxRegex`).
static SCP: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^((?:[\w-]+@)?[\w-]+(?:\.[\w-]+)*)(?::(.*))?$").ok());

/// A Git repository's address in lower case, without `.git`, a slash at the end, and a password (`NormalizeGit`).
pub(crate) fn git(address: &str) -> String {
    let clean = printable(&address.to_lowercase());
    let found = match clean.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => authority_and_path(rest).map(|(authority, path)| {
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{}", bare(path))
        }),
        Some(("ssh", rest)) => {
            authority_and_path(rest).map(|(authority, path)| format!("ssh://{authority}{}", bare(path)))
        }
        _ => scp(&clean),
    };
    found.unwrap_or_else(|| address.to_owned())
}

/// `host` and `/path` of what follows a scheme; `None` for what is no address, or has a query.
fn authority_and_path(rest: &str) -> Option<(&str, &str)> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_address = !authority.contains([' ', '?']) && !path.contains('?');
    is_address.then_some((authority, path))
}

fn scp(address: &str) -> Option<String> {
    let parts = SCP.as_ref()?.captures(address)?;
    let host = parts.get(1)?.as_str();
    Some(match bare(parts.get(2).map_or("", |path| path.as_str())) {
        "" => format!("ssh://{host}"),
        path => format!("ssh://{host}/{path}"),
    })
}

/// A path without one slash and one `.git` at its end.
fn bare(path: &str) -> &str {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.strip_suffix(".git").unwrap_or(path)
}

/// A chart repository's address in lower case, without `oci://` and without the names of Docker Hub
/// (`NormalizeChart`, `NormalizeImage`).
pub(crate) fn chart(address: &str) -> String {
    let clean = printable(address).to_lowercase();
    let clean = printable(clean.strip_prefix("oci://").unwrap_or(&clean));
    if clean.contains([' ', '@']) {
        return clean;
    }
    let untagged = match clean.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => &clean,
    };
    let on_hub = match untagged.split_once('/') {
        Some((host, path)) if DOCKER_HUB.contains(&host) => Some(path),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => None,
        _ => Some(untagged),
    };
    on_hub.map_or(untagged, |path| path.strip_prefix("library/").unwrap_or(path)).to_owned()
}

/// Both parts joined by a slash, and cleaned as Go's `path.Join` does: without empty parts, `.` and `..`.
pub(crate) fn joined(first: &str, second: &str) -> String {
    let both = [first, second];
    let is_rooted = both.iter().find(|part| !part.is_empty()).is_some_and(|part| part.starts_with('/'));
    let mut parts: Vec<&str> = Vec::new();
    for part in both.iter().flat_map(|one| one.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if is_rooted { format!("/{path}") } else { path }
}

/// Without what cannot be printed, and without white space around it (`SanitizeURL`).
fn printable(text: &str) -> String {
    let invisible = |c: char| {
        c != ' ' && (c.is_control() || c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}'))
    };
    text.replace(invisible, "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every answer is that of Kargo v1.11.2's own function.
    #[track_caller]
    fn check(function: impl Fn(&str) -> String, answers: &[(&str, &str)]) {
        for (address, answer) in answers {
            assert_eq!(function(address), *answer, "{address:?}");
        }
    }

    #[test]
    fn git_repositories_compare_by_their_lower_case_address() {
        check(
            git,
            &[
                ("", ""),
                ("  https://git.example.com/x\u{200b} ", "https://git.example.com/x"),
                ("git.example.com", "ssh://git.example.com"),
                ("git.example.com:/x/y", "ssh://git.example.com//x/y"),
                ("git@git.example.com", "ssh://git@git.example.com"),
                ("git@git.example.com:Shop/Web.git/", "ssh://git@git.example.com/shop/web"),
                ("http://git.example.com/x?y=z", "http://git.example.com/x?y=z"),
                ("https://a:b@git.example.com:8443/x/y.git/", "https://git.example.com:8443/x/y"),
                ("https://git.example.com/", "https://git.example.com"),
                ("https://git.example.com/Shop/Web.git", "https://git.example.com/shop/web"),
                ("https://git.example.com/x.git.git", "https://git.example.com/x.git"),
                ("https://git.example.com/x//", "https://git.example.com/x/"),
                ("https://not an address", "https://not an address"),
                ("no address at all", "no address at all"),
                ("ssh://git.example.com/", "ssh://git.example.com"),
                ("ssh://git@git.example.com:2222/x/y.git", "ssh://git@git.example.com:2222/x/y"),
            ],
        );
    }

    #[test]
    fn chart_repositories_compare_without_scheme_tag_and_docker_hub() {
        check(
            chart,
            &[
                ("", ""),
                ("x", "x"),
                ("docker.io/nginx", "nginx"),
                ("index.docker.io/library/nginx", "nginx"),
                ("library/nginx", "nginx"),
                ("localhost/library/nginx", "localhost/library/nginx"),
                ("localhost:5000/x/y", "localhost:5000/x/y"),
                ("oci://Registry.example.com/charts/web", "registry.example.com/charts/web"),
                ("oci://docker.io/library/nginx", "nginx"),
                ("oci://registry-1.docker.io/bitnami/nginx", "bitnami/nginx"),
                ("oci://registry.example.com/x/y:1.0", "registry.example.com/x/y"),
                ("oci://registry.example.com/x@sha256:00", "registry.example.com/x@sha256:00"),
                ("https://charts.example.com", "https://charts.example.com"),
                ("https://charts.example.com/Stable/", "https://charts.example.com/stable/"),
                ("https://charts.example.com:8443/a//b/", "https://charts.example.com:8443/a//b/"),
                ("registry.example.com/x y", "registry.example.com/x y"),
            ],
        );
    }

    #[test]
    fn a_charts_name_is_joined_as_go_joins_paths() {
        assert_eq!(
            joined("https://charts.example.com/stable/", "web"),
            "https:/charts.example.com/stable/web"
        );
        assert_eq!(joined("registry.example.com/charts/web", ""), "registry.example.com/charts/web");
        assert_eq!(joined("/a/../b/./", "../../c"), "/c");
        assert_eq!(joined("", ""), "");
    }
}
