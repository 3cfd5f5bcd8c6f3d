//! What one client address may have at once and in a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::rate::{Rate, ticks};

/// Addresses remembered one by one. Some 4 MiB when full.
const ROOM: usize = 65_536;
/// A full map is swept at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Whom a limit holds against. An IPv6 client has a /64 to itself, so the /64 is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// One IPv4 address, also when it came mapped into IPv6.
    V4([u8; 4]),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
    /// Everyone for whom the map had no room.
    Others,
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&v6.octets()[..8]);
                Self::V6(prefix)
            }
        }
    }
}

/// The figures, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct AddressLimits {
    /// Connections at once.
    pub connections: u32,
    /// Connections at once that have not sent a hello.
    pub half_open: u32,
    /// New ones.
    pub rate: Rate,
}

/// Why an address gets no further connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// It has as many as it may have.
    #[error("the address has too many connections")]
    Connections,
    /// It has as many without a hello as it may have.
    #[error("the address has too many connections without a hello")]
    HalfOpen,
    /// It comes too often.
    #[error("the address connects too often")]
    Rate,
}

#[derive(Debug, Default, Clone, Copy)]
struct Entry {
    open: u32,
    half_open: u32,
    empty_at: u64,
}

/// All client addresses with a connection, or with a bucket that is not empty yet.
#[derive(Debug)]
pub struct Addresses {
    limits: AddressLimits,
    room: usize,
    map: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    entries: HashMap<AddressKey, Entry>,
    swept: Option<Instant>,
}

/// A connection's place in its address; given back when dropped.
#[derive(Debug)]
pub struct AddressPermit {
    addresses: Arc<Addresses>,
    key: AddressKey,
    half_open: bool,
}

impl Addresses {
    /// Nobody is known yet.
    pub fn new(limits: AddressLimits) -> Self {
        Self { limits, room: ROOM, map: Mutex::default() }
    }

    /// A new, half-open connection of this address, or why not.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<AddressPermit, AddressRefused> {
        let mut map = self.map.lock();
        let key = map.key_for(address.into(), self.room, now);
        let entry = map.entries.entry(key).or_default();
        entry.add(&self.limits, ticks(now))?;
        Ok(AddressPermit { addresses: self.clone(), key, half_open: true })
    }

    /// Addresses in the map.
    pub fn len(&self) -> usize {
        self.map.lock().entries.len()
    }

    /// Whether nobody is in the map.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    fn add(&mut self, limits: &AddressLimits, now: u64) -> Result<(), AddressRefused> {
        if self.open >= limits.connections {
            return Err(AddressRefused::Connections);
        }
        if self.half_open >= limits.half_open {
            return Err(AddressRefused::HalfOpen);
        }
        self.empty_at = limits.rate.add(self.empty_at, now).ok_or(AddressRefused::Rate)?;
        self.open += 1;
        self.half_open += 1;
        Ok(())
    }
}

impl Map {
    /// The entry that counts for an address: its own, if there is room for one.
    fn key_for(&mut self, key: AddressKey, room: usize, now: Instant) -> AddressKey {
        if self.entries.len() < room || self.entries.contains_key(&key) {
            return key;
        }
        if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY) {
            self.swept = Some(now);
            let ticks = ticks(now);
            self.entries.retain(|_, entry| entry.open > 0 || entry.empty_at > ticks);
        }
        if self.entries.len() < room { key } else { AddressKey::Others }
    }
}

impl AddressPermit {
    /// The hello is whole: the connection no longer counts as half-open.
    pub fn hello_is_whole(&mut self) {
        if std::mem::take(&mut self.half_open)
            && let Some(entry) = self.addresses.map.lock().entries.get_mut(&self.key)
        {
            entry.half_open = entry.half_open.saturating_sub(1);
        }
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        self.hello_is_whole();
        let now = ticks(Instant::now());
        let mut map = self.addresses.map.lock();
        if let Some(entry) = map.entries.get_mut(&self.key) {
            entry.open = entry.open.saturating_sub(1);
            if entry.open == 0 && entry.empty_at <= now {
                map.entries.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(connections: u32, half_open: u32, burst: u32, room: usize) -> Arc<Addresses> {
        let limits = AddressLimits { connections, half_open, rate: Rate { per_second: 1, burst } };
        Arc::new(Addresses { limits, room, map: Mutex::default() })
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_limit_holds_for_one_address_and_not_for_its_neighbour() {
        let now = Instant::now();
        let all = addresses(3, 2, 4, 100);
        let mut first = all.admit(ip(1), now).unwrap();
        let second = all.admit(ip(1), now).unwrap();
        assert_eq!(all.admit(ip(1), now).unwrap_err(), AddressRefused::HalfOpen);
        first.hello_is_whole();
        let third = all.admit(ip(1), now).unwrap();
        assert_eq!(all.admit(ip(1), now).unwrap_err(), AddressRefused::Connections);
        drop((first, second, third));
        let fourth = all.admit(ip(1), now).unwrap();
        drop(fourth);
        assert_eq!(all.admit(ip(1), now).unwrap_err(), AddressRefused::Rate);
        assert!(all.admit(ip(2), now).is_ok());
    }

    #[test]
    fn ipv6_neighbours_in_a_64_are_one_client_and_mapped_ipv4_is_ipv4() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_map() {
        let now = Instant::now();
        let all = addresses(100, 100, 100, 10);
        let held: Vec<_> = (0..50).map(|last| all.admit(ip(last), now).unwrap()).collect();
        assert_eq!(all.len(), 11);
        assert_eq!(held.iter().filter(|p| p.key == AddressKey::Others).count(), 40);
        drop(held);
        let later = now + Duration::from_secs(200);
        assert_eq!(all.admit(ip(200), later).unwrap().key, ip(200).into());
    }
}
