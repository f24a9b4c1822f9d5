//! Where component bytes come from: built in, a file, a ConfigMap.
