//! Processes that share a store, step by step through everything that may happen to them, to their postings and to the
//! store: with the SQLite file, and with a store that can lose commits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::fake_vault::{FakeStore, FakeVault, FarVault, Fate, USD};
use super::journal::{JOURNALS, Journal};
use super::recover;
use super::state::{LedgerState, StoreOperation, UnclaimedHold};
use super::tests::{ACCOUNT, audited, grant, prices, runtime};
use super::types::{CallEnd, CallId, ChargeBasis, HeldMoney, HoldRefusal, HoldRequest};
use super::vault::{Vault, sqlite::SqliteVault};
use super::writer::{LedgerWriter, Syncer};
use crate::auth::Grant;
use crate::canon::{Rates, Usage};
use crate::money::Amount;
use crate::store;

/// A step of a history. Nodes and calls are chosen by remainders.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A key's call begins on a node, if there is money for it: it wants so many dollars, and needs one at least.
    Begin {
        node: usize,
        key: usize,
        dollars: u64,
        fate: Fate,
    },
    /// A call ends at a cost, which may be more than what was set aside for it.
    End {
        node: usize,
        call: usize,
        dollars: u64,
    },
    /// A call has come so far.
    Mark {
        node: usize,
        call: usize,
        tokens: u64,
    },
    /// A node tells the store everything.
    Post {
        node: usize,
        fate: Fate,
    },
    /// A node is killed; its disk stays.
    Kill {
        node: usize,
    },
    /// A node is lost with its disk.
    Lose {
        node: usize,
    },
    /// A node takes over what the dead have left undone.
    Recover {
        node: usize,
    },
    TopUp {
        dollars: u64,
    },
    /// The last commits of the store are lost, which all nodes find out.
    FailOver {
        commits: usize,
    },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Answered), 1 => Just(Fate::Unreached), 1 => Just(Fate::Lost), 1 => Just(Fate::Unanswered)]
}

fn step() -> impl Strategy<Value = Step> {
    let (node, call, key) = (0..2_usize, 0..8_usize, 0..2_usize);
    prop_oneof![
        8 => (node.clone(), key, 1..9_u64, fate())
            .prop_map(|(node, key, dollars, fate)| Step::Begin { node, key, dollars, fate }),
        6 => (node.clone(), call.clone(), 0..30_u64)
            .prop_map(|(node, call, dollars)| Step::End { node, call, dollars }),
        1 => (node.clone(), call, 0..9_u64).prop_map(|(node, call, tokens)| Step::Mark { node, call, tokens }),
        4 => (node.clone(), fate()).prop_map(|(node, fate)| Step::Post { node, fate }),
        1 => node.clone().prop_map(|node| Step::Kill { node }),
        1 => node.clone().prop_map(|node| Step::Lose { node }),
        1 => node.prop_map(|node| Step::Recover { node }),
        1 => (1..20_u64).prop_map(|dollars| Step::TopUp { dollars }),
        1 => (1..4_usize).prop_map(|commits| Step::FailOver { commits }),
    ]
}

/// A process whose work for the store is done step by step.
struct Node {
    state: Arc<LedgerState>,
    writer: LedgerWriter,
    syncer: JoinHandle<()>,
    journal: PathBuf,
    calls: Vec<HeldMoney>,
}

/// The bounds of a call's charge in the end, in nano-USD.
#[derive(Clone, Copy, Debug)]
struct Cost {
    least: u64,
    most: u64,
    /// Whether nobody may know of it any more.
    is_lost: bool,
}

/// A store, its processes, and what must be in its books.
struct World {
    folder: tempfile::TempDir,
    keys: [Grant; 2],
    /// The store that can lose commits; absent: it is the SQLite file.
    fake: Option<Arc<Mutex<FakeStore>>>,
    fate: Arc<Mutex<Fate>>,
    nodes: Vec<Node>,
    costs: HashMap<CallId, Cost>,
    topped_up: u64,
}

impl World {
    fn new(is_fake: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = [grant(folder.path(), Some("20"), None), grant(folder.path(), None, None)];
        let fake = is_fake.then(Arc::<Mutex<FakeStore>>::default);
        if let Some(store) = &fake {
            store.lock().change(|books| books.top_up(20 * USD));
        }
        let (fate, costs) = (Arc::default(), HashMap::new());
        let mut world = Self { folder, keys, fake, fate, nodes: Vec::new(), costs, topped_up: 20 };
        world.nodes = vec![world.start(), world.start()];
        world
    }

    fn vault(&self) -> Box<dyn Vault> {
        let vault: Box<dyn Vault> = match &self.fake {
            Some(store) => Box::new(FakeVault(Arc::clone(store))),
            None => Box::new(SqliteVault::new(store::open(self.folder.path()).unwrap())),
        };
        Box::new(FarVault { vault, fate: Arc::clone(&self.fate), last: None })
    }

    fn start(&self) -> Node {
        let journals = self.folder.path().join(JOURNALS);
        let mut vault = self.vault();
        recover::all(&mut *vault, &journals).unwrap();
        let epoch = vault.join().unwrap();
        let state = Arc::new(LedgerState::new(Journal::create(&journals, epoch).unwrap(), epoch));
        let syncer = Syncer { file: state.file().unwrap(), state: Arc::clone(&state), watch: Arc::default() };
        let journal = journals.join(epoch.to_string());
        let writer = LedgerWriter {
            vault,
            journals,
            recovered: Instant::now(),
            state: Arc::clone(&state),
            uses: Arc::default(),
            outbox: Arc::default(),
            epoch,
            posted: 0,
            owed: Vec::new(),
        };
        let syncer = std::thread::spawn(move || syncer.run());
        Node { state, writer, syncer, journal, calls: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin { node, key, dollars, fate } => {
                let request = request(&self.keys[key], dollars);
                let fate_of_next = Arc::clone(&self.fate);
                self.nodes[node].begin(&request, || *fate_of_next.lock() = fate);
            }
            Step::End { node, call, dollars } => self.end(node, call, dollars),
            Step::Mark { node, call, tokens } => {
                let node = &self.nodes[node];
                if let Some(held) = node.calls.get(call) {
                    node.state.mark(held.call, tokens);
                }
            }
            Step::Post { node, fate } => {
                *self.fate.lock() = fate;
                self.nodes[node].post();
            }
            Step::Kill { node } => self.replace(node, false),
            Step::Lose { node } => self.replace(node, true),
            Step::Recover { node } => {
                let node = &mut self.nodes[node];
                recover::all(&mut *node.writer.vault, &node.writer.journals).unwrap();
            }
            Step::TopUp { dollars } => self.top_up(dollars),
            Step::FailOver { commits } => self.fail_over(commits),
        }
        *self.fate.lock() = Fate::Answered;
    }

    fn end(&mut self, node: usize, call: usize, dollars: u64) {
        let node = &mut self.nodes[node];
        if call >= node.calls.len() {
            return;
        }
        let held = node.calls.remove(call);
        let charge = Amount::from_nano((dollars * USD).into());
        let (outcome, usage) = (ChargeBasis::Exact, Usage { input: dollars, ..Usage::default() });
        let end = CallEnd { charge, outcome, usage, whole: true, ..CallEnd::released() };
        node.state.end(&held, end);
        let (most, least) = (dollars * USD, (dollars * USD).min(held.amount.nano()));
        self.costs.insert(held.call, Cost { least, most, is_lost: false });
    }

    fn top_up(&mut self, dollars: u64) {
        self.topped_up += dollars;
        match &self.fake {
            Some(store) => store.lock().change(|books| books.top_up(dollars * USD)),
            None => {
                let (mut books, reference) =
                    (super::Books::open(self.folder.path()).unwrap(), self.topped_up.to_string());
                let amount = Amount::from_nano((dollars * USD).into());
                assert!(books.top_up(ACCOUNT, amount, &reference).unwrap());
            }
        }
    }

    /// Kills a node, with its disk or without, and starts another one in its place.
    fn replace(&mut self, at: usize, disk_is_lost: bool) {
        let node = self.nodes.remove(at);
        self.kill(node, disk_is_lost);
        let node = self.start();
        self.nodes.insert(at, node);
    }

    fn kill(&mut self, node: Node, disk_is_lost: bool) {
        node.state.die();
        node.state.close();
        node.syncer.join().unwrap();
        for held in &node.calls {
            self.costs.insert(held.call, Cost { least: 0, most: held.amount.nano(), is_lost: disk_is_lost });
        }
        if disk_is_lost {
            std::fs::remove_file(&node.journal).unwrap();
            let [first, last] = CallId::range(node.writer.epoch);
            let of_node = self.costs.iter_mut().filter(|(call, _)| (first..=last).contains(&call.0));
            // What the store knew may be charged by an estimate, and what it did not know is lost.
            of_node
                .for_each(|(_, cost)| *cost = Cost { least: 0, most: cost.most.max(9 * USD), is_lost: true });
        }
    }

    /// Loses commits, and starts all nodes again: their journals are the truth.
    fn fail_over(&mut self, commits: usize) {
        let Some(store) = self.fake.clone() else { return };
        for node in std::mem::take(&mut self.nodes) {
            self.kill(node, false);
        }
        store.lock().lose(commits);
        self.nodes = vec![self.start(), self.start()];
    }

    /// Checks that the sums add up, and that no node has more than the store has lent to it.
    fn check(&self) {
        match &self.fake {
            Some(store) => store.lock().books.check(),
            None => drop(audited(self.folder.path())),
        }
        for node in &self.nodes {
            let spare = node.state.empty_sharing(ACCOUNT, "");
            node.state.fill(&spare);
            let spare = spare.iter().chain(&node.writer.owed).map(|lease| lease.amount.nano()).sum::<u64>();
            let held = node.calls.iter().map(|held| held.amount.nano()).sum::<u64>();
            let lent = self.lent(node.writer.epoch);
            assert!(spare + held <= lent, "{spare} spare and {held} held of {lent} lent");
        }
    }

    fn lent(&self, epoch: i64) -> u64 {
        match &self.fake {
            Some(store) => store.lock().books.leases.get(&epoch).copied().unwrap_or_default(),
            None => {
                let sql = "SELECT COALESCE(SUM(amount), 0) FROM leases WHERE epoch = ?1";
                let store = store::open(self.folder.path()).unwrap();
                store.query_row(sql, [epoch], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
            }
        }
    }

    fn charges(&self) -> HashMap<CallId, u64> {
        match &self.fake {
            Some(store) => store.lock().books.charges.clone(),
            None => {
                let store = store::open(self.folder.path()).unwrap();
                let mut query = store.prepare("SELECT call, amount FROM charges").unwrap();
                let charge =
                    |row: &rusqlite::Row<'_>| Ok((CallId(row.get(0)?), row.get::<_, Amount>(1)?.nano()));
                query.query_map([], charge).unwrap().collect::<Result<_, _>>().unwrap()
            }
        }
    }

    /// Ends everything, and checks that each call was charged once, at what it has cost.
    fn finish(mut self) {
        for at in 0..self.nodes.len() {
            while !self.nodes[at].calls.is_empty() {
                self.end(at, 0, 1);
            }
        }
        for node in std::mem::take(&mut self.nodes) {
            node.state.close();
            let mut writer = node.writer;
            while !writer.step() {}
            writer.end();
            node.syncer.join().unwrap();
            assert!(!node.journal.exists(), "everything is in the store");
        }
        self.check();
        let charges = self.charges();
        for (call, Cost { least, most, is_lost }) in &self.costs {
            match charges.get(call) {
                Some(charge) => {
                    assert!((least..=most).contains(&charge), "{call:?}: {charge}, not {least} to {most}");
                }
                None => assert!(*is_lost, "{call:?} was free"),
            }
        }
        let charged = charges.values().sum::<u64>();
        match &self.fake {
            Some(store) => {
                let books = &store.lock().books;
                assert_eq!((books.lent(), books.debt, books.holds.len()), (0, 0, 0));
                assert_eq!(books.free, self.topped_up * USD - charged);
            }
            None => {
                let (wallet, audit) = audited(self.folder.path());
                assert_eq!((wallet.held, audit.holds), (Amount::ZERO, 0));
                assert_eq!(wallet.balance.nano(), self.topped_up * USD - charged);
            }
        }
    }
}

impl Node {
    /// Begins a call. If the store is asked for a lease, `before` is called first.
    fn begin(&mut self, request: &HoldRequest, before: impl FnOnce()) {
        let unclaimed = match self.state.hold(request) {
            Some(set) => Ok(UnclaimedHold::new(&self.state, set)),
            None => {
                before();
                let (reply, mut answer) = oneshot::channel();
                self.state.ask(StoreOperation::Lease(request.clone(), reply));
                self.writer.step();
                answer.try_recv().unwrap_or(Err(HoldRefusal::Store))
            }
        };
        if let Ok(unclaimed) = unclaimed {
            self.calls.push(runtime().block_on(unclaimed.claim()).unwrap());
        }
    }

    /// Tells the store everything.
    fn post(&mut self) {
        let (reply, _) = oneshot::channel();
        self.state.ask(StoreOperation::Wallet(ACCOUNT.to_owned(), reply));
        self.writer.step();
    }
}

/// A request for so many dollars, and for one at least.
fn request(key: &Grant, dollars: u64) -> HoldRequest {
    let amount = |dollars: u64| Amount::from_nano((dollars * USD).into());
    HoldRequest {
        grant: Arc::clone(key),
        model: "m".into(),
        prices: vec![prices()],
        wanted: amount(dollars),
        least: amount(1),
        prompt: 1,
        rates: Rates::default(),
        time: store::now(),
        needs_wallet: true,
    }
}

fn play(is_fake: bool, steps: &[Step]) {
    let mut world = World::new(is_fake);
    for step in steps {
        world.step(*step);
        world.check();
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_history_of_a_file_spends_money_twice(steps in proptest::collection::vec(step(), 1..30)) {
        play(false, &steps);
    }

    #[test]
    fn no_history_of_a_store_that_loses_commits_spends_money_twice(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        play(true, &steps);
    }
}

#[test]
fn an_answer_that_is_lost_is_found_out() {
    for fate in [Fate::Unanswered, Fate::Lost] {
        let mut world = World::new(false);
        world.step(Step::Begin { node: 0, key: 0, dollars: 4, fate });
        let begun = world.nodes[0].calls.len();
        assert_eq!(
            begun == 1,
            fate == Fate::Unanswered,
            "what was lent is used, and nobody is told of a lease that is not"
        );
        world.check();
        world.finish();
    }
}

#[test]
fn what_was_returned_once_is_never_spent_again() {
    let mut world = World::new(false);
    world.step(Step::Begin { node: 0, key: 0, dollars: 4, fate: Fate::Answered });
    // The other key's want returns the spare money of the first.
    world.step(Step::Begin { node: 0, key: 1, dollars: 9, fate: Fate::Answered });
    assert_eq!(world.nodes[0].calls.len(), 2);
    world.step(Step::Begin { node: 0, key: 0, dollars: 9, fate: Fate::Lost });
    let node = &world.nodes[0];
    let spare = node.state.empty_sharing(ACCOUNT, "");
    node.state.fill(&spare);
    assert!(
        !node.writer.owed.is_empty()
            && spare.iter().all(|lease| lease.limits.key.as_ref() != world.keys[0].id)
    );
    world.check();
    world.step(Step::Post { node: 0, fate: Fate::Answered });
    assert!(world.nodes[0].writer.owed.is_empty(), "it is returned with the next posting");
    world.finish();
}
