//! A model of Kargo v1.11.2: admission and behaviour as functions over objects.
