//! The migrations are compiled in, and the compiler does not see that one was added.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
