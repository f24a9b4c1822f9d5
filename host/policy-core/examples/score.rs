fn main() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/captures/kargo-1.11.2-steps/labels.json");
    let labels: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut n, mut class, mut retry, mut fault) = (0, 0, 0, 0);
    for (name, label) in labels.as_object().unwrap() {
        let t = |k: &str| label[k].as_str().unwrap_or("").to_owned();
        if t("cls") == "-" || t("phase") == "Running" {
            continue;
        }
        n += 1;
        let got = policy_core::classify::text(Some(&t("kind")), &t("msg"));
        let w = |v: serde_json::Value| v.as_str().unwrap().to_owned();
        let (c, r, f) = (
            w(serde_json::to_value(got.class).unwrap()),
            w(serde_json::to_value(got.retryability).unwrap()),
            w(serde_json::to_value(got.fault_domain).unwrap()),
        );
        class += usize::from(c == t("cls"));
        retry += usize::from(r == t("retry"));
        fault += usize::from(f == t("fault"));
        let danger = matches!(t("retry").as_str(), "needs-change" | "never")
            && matches!(r.as_str(), "now" | "after-delay" | "whole-only");
        println!(
            "{}\t{}\t{}\t{name}\t{}\twant {}/{}/{}\tgot {c}/{r}/{f}",
            if danger { if r == "now" { "DANGER" } else { "soft" } } else { "" },
            if c == t("cls") { "ok" } else { "CLS" },
            if r == t("retry") { "ok" } else { "RTY" },
            got.rule,
            t("cls"),
            t("retry"),
            t("fault")
        );
    }
    println!("TOTAL {n} class {class} retry {retry} fault {fault}");
}
