//! Servers each in a network of its own, all on one bridge with the test, and packets that are lost between them.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};

/// Tells the networks of one process apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Each server's own table; what is to be lost is lost before it leaves.
const TABLE: &str =
    "add table inet cut\nadd chain inet cut out { type filter hook output priority 0; policy accept; }\n";

/// Removes them when its input ends, however the test ends. A network itself lives until its last socket is closed.
const GUARD: &str = "cat >/dev/null; for net in $NETS; do ip netns del $net; done; for link in $LINKS; do ip link del $link; done";

/// See the module. They end when it is dropped.
#[derive(Debug)]
pub struct Nets {
    tag: String,
    subnet: u8,
    servers: Vec<String>,
    guard: Child,
}

impl Nets {
    /// As root: a network for each of these servers.
    pub fn new(servers: Vec<String>) -> anyhow::Result<Nets> {
        let number = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let tag = format!("fn{:x}", number % 0x1_0000);
        let bridge = format!("{tag}b");
        let names: Vec<String> = (0..servers.len()).map(|index| format!("{tag}n{index}")).collect();
        let links = (0..servers.len()).map(|index| format!("{tag}v{index} ")).collect::<String>() + &bridge;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .env("NETS", names.join(" "))
            .env("LINKS", links)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let nets = Nets { tag, subnet: u8::try_from(number % 250)?, servers, guard };
        let host = nets.address(1);
        run("ip", &format!("link add {bridge} type bridge"))?;
        run("ip", &format!("address add {host}/24 dev {bridge}"))?;
        run("ip", &format!("link set {bridge} up"))?;
        for (index, net) in names.iter().enumerate() {
            let (outer, ip) = (format!("{}v{index}", nets.tag), nets.ip(&nets.servers[index])?);
            run("ip", &format!("netns add {net}"))?;
            run("ip", &format!("link add {outer} type veth peer name eth0 netns {net}"))?;
            run("ip", &format!("link set {outer} master {bridge} up"))?;
            run("ip", &format!("-n {net} address add {ip}/24 dev eth0"))?;
            run("ip", &format!("-n {net} link set eth0 up"))?;
            run("ip", &format!("-n {net} link set lo up"))?;
            filter(net, TABLE)?;
        }
        Ok(nets)
    }

    /// Where a server is.
    pub fn ip(&self, server: &str) -> anyhow::Result<Ipv4Addr> {
        Ok(self.address(u8::try_from(self.index(server)?)? + 10))
    }

    /// A program that is to run where this server is.
    pub fn command(&self, server: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        let net = self.net(server).unwrap_or_else(|_| "none".into());
        command.args(["netns", "exec", &net]).arg(program);
        command
    }

    /// From now on nothing that one server sends reaches the other; the way back stays.
    pub fn cut(&self, from: &str, to: &str) -> anyhow::Result<()> {
        filter(&self.net(from)?, &format!("add rule inet cut out ip daddr {} drop\n", self.ip(to)?))
    }

    /// Nothing passes between a server and any other.
    pub fn cut_off(&self, server: &str) -> anyhow::Result<()> {
        self.cut_out_of(server)?;
        self.cut_into(server)
    }

    /// Nothing that it sends reaches any other.
    pub fn cut_out_of(&self, server: &str) -> anyhow::Result<()> {
        self.others(server).try_for_each(|other| self.cut(server, other))
    }

    /// Nothing that others send reaches it.
    pub fn cut_into(&self, server: &str) -> anyhow::Result<()> {
        self.others(server).try_for_each(|other| self.cut(other, server))
    }

    /// Of all that servers send each other so much is lost, in percent.
    pub fn lose(&self, percent: u8) -> anyhow::Result<()> {
        self.servers.iter().try_for_each(|server| {
            let others = format!("{}/24", self.address(0));
            let lost = format!(
                "ip daddr {others} ip daddr != {} numgen random mod 100 < {percent}",
                self.address(1)
            );
            filter(&self.net(server)?, &format!("add rule inet cut out {lost} drop\n"))
        })
    }

    /// Everything passes again.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.servers.iter().try_for_each(|server| filter(&self.net(server)?, "flush chain inet cut out\n"))
    }

    fn others<'a>(&'a self, server: &'a str) -> impl Iterator<Item = &'a String> {
        self.servers.iter().filter(move |other| *other != server)
    }

    fn index(&self, server: &str) -> anyhow::Result<usize> {
        self.servers
            .iter()
            .position(|known| known == server)
            .with_context(|| format!("{server} has no network"))
    }

    fn net(&self, server: &str) -> anyhow::Result<String> {
        Ok(format!("{}n{}", self.tag, self.index(server)?))
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.subnet, host)
    }
}

impl Drop for Nets {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn run(program: &str, arguments: &str) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments.split(' ')).output().context(program.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments}: {said}");
    Ok(())
}

fn filter(net: &str, rules: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("ip")
        .args(["netns", "exec", net, "nft", "--file", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    nft.stdin.take().context("its input")?.write_all(rules.as_bytes())?;
    let output = nft.wait_with_output()?;
    ensure!(output.status.success(), "nft {rules:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
