//! Templates, assets and migrations lie outside this package: without these lines a new file there would not
//! start a rebuild.

fn main() {
    for folder in ["../web/templates", "../web/assets", "../migrations"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
