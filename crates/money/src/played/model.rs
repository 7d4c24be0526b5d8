//! The reference model: what everybody has, as one would reckon it by hand.

use std::collections::BTreeMap;

use kernel::id::kinds::{Hold, Payment, Unstaking, Withdrawal};
use kernel::{Id, Timestamp};

use super::deed::{Deed, Saw};
use crate::ledger::Code;
use crate::payout::Source;
use crate::provider::ProviderName;

/// Whose account, none being the platform's own, and which.
pub(super) type Place = (Option<usize>, &'static str);

/// The platform's share of a job, as the services are told.
pub(super) const FEE_BPS: i64 = 1_000;
/// What the platform takes for a withdrawal, and what the provider takes from the platform.
pub(super) const WITHDRAWAL_FEE: i64 = 50;
pub(super) const PAYOUT_COST: i64 = 1_000;
/// What a provider keeps of a deposit.
const DEPOSIT_BPS: i64 = 150;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Held,
    /// Captured, and free to be contested until then.
    Pending {
        net: i64,
        until: Timestamp,
    },
    Closed,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub hold: Id<Hold>,
    pub owner: usize,
    pub payee: usize,
    pub price: i64,
    pub phase: Phase,
    pub contested: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cooling {
    pub id: Id<Unstaking>,
    pub owner: usize,
    pub left: i64,
    pub unlock_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Requested,
    Approved,
    Settled,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Payout {
    pub id: Id<Withdrawal>,
    pub owner: usize,
    pub source: Source,
    pub amount: i64,
    pub state: Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Open,
    Settled,
    /// Another amount than was asked for.
    Suspended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    None,
    /// So much of it was there to be held.
    Open(i64),
    Over,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Deposit {
    pub id: Id<Payment>,
    pub owner: usize,
    pub provider: ProviderName,
    pub amount: i64,
    pub came: Came,
    pub refunded: i64,
    pub claim: Claim,
}

/// Money on its way back to a payer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Back {
    pub owner: usize,
    pub provider: ProviderName,
    pub amount: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub has: BTreeMap<Place, i64>,
    pub frozen: [bool; super::USERS],
    pub jobs: Vec<Job>,
    pub cooling: Vec<Cooling>,
    pub payouts: Vec<Payout>,
    pub deposits: Vec<Deposit>,
    pub backs: Vec<Back>,
    pub now: Timestamp,
}

impl Model {
    pub(super) fn of(&self, who: usize, code: Code) -> i64 {
        self.has.get(&(Some(who), code.as_str())).copied().unwrap_or_default()
    }

    fn add(&mut self, who: Option<usize>, code: Code, minor: i64) {
        *self.has.entry((who, code.as_str())).or_default() += minor;
    }

    fn own(&mut self, who: usize, code: Code, minor: i64) {
        self.add(Some(who), code, minor);
    }

    fn platform(&mut self, code: Code, minor: i64) {
        self.add(None, code, minor);
    }

    fn moves(&mut self, from: (usize, Code), to: (usize, Code), minor: i64) -> bool {
        let is_enough = self.of(from.0, from.1) >= minor;
        if is_enough {
            self.own(from.0, from.1, -minor);
            self.own(to.0, to.1, minor);
        }
        is_enough
    }

    /// Whether the deed, done now, is answered like this; if so, does it. Of a deed without an
    /// answer, whether it can have been done.
    pub(super) fn plays(&mut self, deed: &Deed, saw: &Saw) -> bool {
        if let (Deed::Read { who }, Saw::Has(read)) = (deed, saw) {
            return *read == self.shown(*who);
        }
        if matches!((deed, saw), (Deed::Deposit { .. }, Saw::Refused)) {
            // The page on which to pay it was lost on its way from the provider: it never opens.
            return true;
        }
        let before = self.clone();
        let answer = self.answer(deed, saw);
        let fits = match (saw, answer) {
            (Saw::Never, _) => false,
            (Saw::Nothing, answer) => answer != Saw::Refused,
            (saw, answer) => *saw == answer,
        };
        if !fits || *saw == Saw::Refused {
            *self = before;
        }
        fits
    }

    fn answer(&mut self, deed: &Deed, saw: &Saw) -> Saw {
        let done = match *deed {
            Deed::Send { who, to, minor, .. } => {
                !self.frozen[who] && self.moves((who, Code::WALLET), (to, Code::WALLET), minor)
            }
            Deed::Hold { who, payee, price, .. } => self.hold(who, payee, price, saw),
            Deed::Capture { hold, .. } => self.capture(hold),
            Deed::Release { hold } => self.release(hold),
            Deed::Contest { hold } => self.contest(hold),
            Deed::Settle { hold, back_bps } => return self.settle(hold, back_bps.into()),
            Deed::Earn { hold } => self.earn(hold),
            Deed::Stake { who, minor, source, .. } => {
                !self.frozen[who] && self.moves((who, source.code()), (who, Code::STAKE), minor)
            }
            Deed::Unstake { who, minor, .. } => self.unstake(who, minor, saw),
            Deed::Restake { id, .. } => self.restake(id),
            Deed::Slash { who, minor, harmed, .. } => return self.slash(who, minor, harmed),
            Deed::Withdraw { who, minor, source, .. } => self.withdraw(who, minor, source, saw),
            Deed::Decide { id, approve, .. } => self.decide(id, approve),
            Deed::Refund { id, minor, .. } => self.refund(id, minor),
            Deed::Credit { id, .. } => self.credit(id),
            Deed::Thaw { who, .. } => std::mem::take(&mut self.frozen[who]),
            Deed::Deposit { who, minor, provider, .. } => self.deposit(who, minor, provider, saw),
            Deed::Read { .. } => false,
        };
        match saw {
            _ if !done => Saw::Refused,
            // Ids are the services' to choose.
            Saw::Hold(_) | Saw::Cooling(_) | Saw::Leaving(_) | Saw::Paying(_) => saw.clone(),
            _ => Saw::Done,
        }
    }

    fn hold(&mut self, owner: usize, payee: usize, price: i64, saw: &Saw) -> bool {
        let done =
            !self.frozen[owner] && self.moves((owner, Code::WALLET), (owner, Code::HELD), price);
        if let (true, Saw::Hold(hold)) = (done, saw) {
            let phase = Phase::Held;
            self.jobs.push(Job { hold: *hold, owner, payee, price, phase, contested: false });
        }
        done
    }

    pub(super) fn job(&mut self, hold: Id<Hold>) -> &mut Job {
        self.jobs.iter_mut().find(|job| job.hold == hold).expect("deeds are about known jobs")
    }

    fn capture(&mut self, hold: Id<Hold>) -> bool {
        let until = self.now + super::WINDOW;
        let job = self.job(hold);
        if job.phase != Phase::Held {
            return false;
        }
        let fee = job.price * FEE_BPS / 10_000;
        job.phase = Phase::Pending { net: job.price - fee, until };
        let Job { owner, payee, price, .. } = *job;
        self.own(owner, Code::HELD, -price);
        self.own(payee, Code::EARN_PENDING, price - fee);
        self.platform(Code::FEE_JOB, fee);
        true
    }

    fn release(&mut self, hold: Id<Hold>) -> bool {
        let job = self.job(hold);
        if job.phase != Phase::Held {
            return false;
        }
        job.phase = Phase::Closed;
        let Job { owner, price, .. } = *job;
        self.moves((owner, Code::HELD), (owner, Code::WALLET), price)
    }

    fn earn(&mut self, hold: Id<Hold>) -> bool {
        let job = self.job(hold);
        let Phase::Pending { net, .. } = job.phase else { return false };
        if job.contested {
            return false;
        }
        job.phase = Phase::Closed;
        let payee = job.payee;
        self.moves((payee, Code::EARN_PENDING), (payee, Code::EARN), net)
    }

    fn contest(&mut self, hold: Id<Hold>) -> bool {
        let now = self.now;
        let job = self.job(hold);
        let Phase::Pending { until, .. } = job.phase else { return false };
        job.contested |= until > now;
        job.contested
    }

    fn settle(&mut self, hold: Id<Hold>, bps: i64) -> Saw {
        let job = self.job(hold);
        let (Phase::Pending { net, .. }, true) = (job.phase, job.contested) else {
            return Saw::Refused;
        };
        let Job { owner, payee, price, .. } = *job;
        (job.phase, job.contested) = (Phase::Closed, false);
        let fee = price - net;
        let (back, fee_back) = (price * bps / 10_000, fee * bps / 10_000);
        self.own(owner, Code::WALLET, back);
        self.platform(Code::FEE_JOB, -fee_back);
        self.own(payee, Code::EARN_PENDING, -net);
        self.own(payee, Code::EARN, net - (back - fee_back));
        Saw::Kept(price - back, fee - fee_back)
    }

    fn unstake(&mut self, who: usize, minor: i64, saw: &Saw) -> bool {
        let done = self.moves((who, Code::STAKE), (who, Code::UNSTAKE), minor);
        if let (true, Saw::Cooling(id)) = (done, saw) {
            let unlock_at = self.now + super::COOLING;
            self.cooling.push(Cooling { id: *id, owner: who, left: minor, unlock_at });
            // As they are slashed: the last to be free first.
            self.cooling.sort_unstable_by_key(|it| std::cmp::Reverse((it.unlock_at, it.id)));
        }
        done
    }

    fn restake(&mut self, id: Id<Unstaking>) -> bool {
        let found = self.cooling.iter().position(|it| it.id == id && it.left > 0);
        let Some(at) = found else { return false };
        let Cooling { owner, left, .. } = self.cooling.remove(at);
        self.moves((owner, Code::UNSTAKE), (owner, Code::STAKE), left)
    }

    fn slash(&mut self, who: usize, minor: i64, harmed: Option<usize>) -> Saw {
        let staked = self.of(who, Code::STAKE).min(minor);
        self.own(who, Code::STAKE, -staked);
        let mut rest = minor - staked;
        for it in self.cooling.iter_mut().filter(|it| it.owner == who) {
            let part = rest.min(it.left);
            (it.left, rest) = (it.left - part, rest - part);
        }
        let taken = minor - rest;
        self.own(who, Code::UNSTAKE, staked - taken);
        match harmed {
            Some(harmed) => self.own(harmed, Code::WALLET, taken),
            None => self.platform(Code::SLASH, taken),
        }
        Saw::Taken(taken)
    }

    fn withdraw(&mut self, who: usize, minor: i64, source: Source, saw: &Saw) -> bool {
        let whole = minor + WITHDRAWAL_FEE;
        let done =
            !self.frozen[who] && self.moves((who, source.code()), (who, Code::WITHDRAW), whole);
        if let (true, Saw::Leaving(id)) = (done, saw) {
            let state = Leaving::Requested;
            self.payouts.push(Payout { id: *id, owner: who, source, amount: minor, state });
        }
        done
    }

    fn decide(&mut self, id: Id<Withdrawal>, approve: bool) -> bool {
        let frozen = self.frozen;
        let found = self.payouts.iter().position(|it| it.id == id);
        let Some(at) = found else { return false };
        let payout = &mut self.payouts[at];
        if payout.state != Leaving::Requested || (approve && frozen[payout.owner]) {
            return false;
        }
        if approve {
            payout.state = Leaving::Approved;
            return true;
        }
        self.fails(id);
        true
    }

    fn refund(&mut self, id: Id<Payment>, minor: Option<i64>) -> bool {
        let deposit = self.deposits.iter().position(|it| it.id == id).expect("a known deposit");
        let Deposit { owner, provider, amount, came, refunded, claim, .. } = self.deposits[deposit];
        let left = amount - refunded;
        let wanted = minor.unwrap_or(left);
        if claim != Claim::None || left == 0 || wanted > left || came == Came::Open {
            return false;
        }
        if came == Came::Suspended {
            self.platform(Code::suspense(provider), -wanted);
            self.own(owner, Code::REFUND, wanted);
        } else if !self.moves((owner, Code::WALLET), (owner, Code::REFUND), wanted) {
            return false;
        }
        // What waited in suspense is nobody's to credit from here on.
        self.deposits[deposit].refunded += wanted;
        self.backs.push(Back { owner, provider, amount: wanted });
        true
    }

    fn credit(&mut self, id: Id<Payment>) -> bool {
        let found = self.deposits.iter().position(|it| it.id == id).expect("a known deposit");
        let Deposit { owner, provider, amount, came, refunded, .. } = self.deposits[found];
        if came != Came::Suspended || refunded > 0 {
            return false;
        }
        self.deposits[found].came = Came::Settled;
        self.platform(Code::suspense(provider), -amount);
        self.credited(owner, amount);
        true
    }

    fn deposit(&mut self, who: usize, minor: i64, provider: ProviderName, saw: &Saw) -> bool {
        if let Saw::Paying(id) = saw {
            self.deposits.push(Deposit {
                id: *id,
                owner: who,
                provider,
                amount: minor,
                came: Came::Open,
                refunded: 0,
                claim: Claim::None,
            });
        }
        true
    }
}

/// What providers do, and time.
impl Model {
    pub(super) fn find(&mut self, id: Id<Payment>) -> &mut Deposit {
        self.deposits.iter_mut().find(|it| it.id == id).expect("a known deposit")
    }

    /// A deposit is paid with so much.
    pub(super) fn paid(&mut self, id: Id<Payment>, came: i64) {
        let deposit = self.find(id);
        let is_asked = deposit.amount == came;
        deposit.came = if is_asked { Came::Settled } else { Came::Suspended };
        deposit.amount = came;
        let Deposit { owner, provider, .. } = *deposit;
        let fee = came * DEPOSIT_BPS / 10_000;
        self.platform(Code::clearing(provider), came - fee);
        self.platform(Code::PROVIDER_COST, fee);
        if is_asked {
            self.credited(owner, came);
        } else {
            self.platform(Code::suspense(provider), came);
        }
    }

    /// What comes into a wallet pays its owner's debt first.
    fn credited(&mut self, owner: usize, minor: i64) {
        let part = minor.min(self.of(owner, Code::RECEIVABLE_NEGATIVE));
        self.own(owner, Code::WALLET, minor - part);
        self.own(owner, Code::RECEIVABLE_NEGATIVE, -part);
        if part > 0 {
            self.thaws(owner);
        }
    }

    fn thaws(&mut self, owner: usize) {
        let is_open = |it: &Deposit| it.owner == owner && matches!(it.claim, Claim::Open(_));
        let is_even = self.of(owner, Code::RECEIVABLE_NEGATIVE) == 0;
        if is_even && !self.deposits.iter().any(is_open) {
            self.frozen[owner] = false;
        }
    }

    /// The payer's bank wants it back.
    pub(super) fn disputed(&mut self, id: Id<Payment>) {
        let Deposit { owner, amount, .. } = *self.find(id);
        let held = amount.min(self.of(owner, Code::WALLET));
        self.find(id).claim = Claim::Open(held);
        self.moves((owner, Code::WALLET), (owner, Code::HELD), held);
        self.frozen[owner] = true;
    }

    /// The bank's claim is decided.
    pub(super) fn decided(&mut self, id: Id<Payment>, is_won: bool) {
        let Deposit { owner, provider, amount, claim, .. } = *self.find(id);
        let Claim::Open(held) = claim else { panic!("no open claim") };
        self.find(id).claim = Claim::Over;
        self.own(owner, Code::HELD, -held);
        if is_won {
            self.own(owner, Code::WALLET, held);
            self.thaws(owner);
        } else {
            self.platform(Code::clearing(provider), -amount);
            self.own(owner, Code::RECEIVABLE_NEGATIVE, amount - held);
            self.thaws(owner);
        }
    }

    /// A withdrawal comes to nothing: the money is back.
    pub(super) fn fails(&mut self, id: Id<Withdrawal>) {
        let at = self.payouts.iter().position(|it| it.id == id).expect("a known payout");
        let Payout { owner, source, amount, .. } = self.payouts.remove(at);
        self.moves((owner, Code::WITHDRAW), (owner, source.code()), amount + WITHDRAWAL_FEE);
    }

    /// A withdrawal was paid.
    pub(super) fn settles(&mut self, id: Id<Withdrawal>) {
        let payout = self.payouts.iter_mut().find(|it| it.id == id).expect("a known payout");
        payout.state = Leaving::Settled;
        let Payout { owner, amount, .. } = *payout;
        self.own(owner, Code::WITHDRAW, -amount - WITHDRAWAL_FEE);
        self.platform(Code::FEE_WITHDRAW, WITHDRAWAL_FEE);
        self.platform(Code::PROVIDER_COST, PAYOUT_COST);
        self.platform(Code::CLEARING_PAYSTACK, -amount - PAYOUT_COST);
    }

    /// A withdrawal that was paid came back.
    pub(super) fn returns(&mut self, id: Id<Withdrawal>) {
        let at = self.payouts.iter().position(|it| it.id == id).expect("a known payout");
        let Payout { owner, source, amount, .. } = self.payouts.remove(at);
        self.platform(Code::CLEARING_PAYSTACK, amount);
        self.platform(Code::FEE_WITHDRAW, -WITHDRAWAL_FEE);
        self.own(owner, source.code(), amount + WITHDRAWAL_FEE);
    }

    /// All that was on its way back to payers has arrived.
    pub(super) fn refunds_arrive(&mut self) {
        for Back { owner, provider, amount } in std::mem::take(&mut self.backs) {
            self.own(owner, Code::REFUND, -amount);
            self.platform(Code::clearing(provider), -amount);
        }
    }

    /// What is due by now happens: earnings are free, and so is what has cooled down.
    pub(super) fn time_passes(&mut self) {
        let now = self.now;
        let due = |it: &&Job| matches!(it.phase, Phase::Pending { until, .. } if until <= now);
        let due: Vec<_> = self.jobs.iter().filter(due).map(|it| it.hold).collect();
        for hold in due {
            self.earn(hold);
        }
        for Cooling { owner, left, .. } in self.cooling.extract_if(.., |it| it.unlock_at <= now) {
            *self.has.entry((Some(owner), Code::UNSTAKE.as_str())).or_default() -= left;
            *self.has.entry((Some(owner), Code::EARN.as_str())).or_default() += left;
        }
    }

    /// Forgets what nothing can happen to any more, and of what would pile up the oldest.
    pub(super) fn tidy(&mut self) {
        self.jobs.retain(|it| it.phase != Phase::Closed);
        self.cooling.retain(|it| it.left > 0);
        let is_paid = |it: &Payout| it.state == Leaving::Settled;
        let mut spare = self.payouts.iter().filter(|it| is_paid(it)).count().saturating_sub(4);
        self.payouts.retain(|it| {
            let goes = spare > 0 && is_paid(it);
            spare -= usize::from(goes);
            !goes
        });
        self.deposits.retain(|it| it.claim != Claim::Over && it.refunded < it.amount);
        let is_in = |it: &Deposit| it.came == Came::Settled && it.claim == Claim::None;
        let mut spare = self.deposits.iter().filter(|it| is_in(it)).count().saturating_sub(8);
        self.deposits.retain(|it| {
            let goes = spare > 0 && is_in(it);
            spare -= usize::from(goes);
            !goes
        });
    }

    /// What one user has, without empty accounts.
    pub(super) fn shown(&self, who: usize) -> BTreeMap<&'static str, i64> {
        let own = self.has.iter().filter(|((owner, _), minor)| *owner == Some(who) && **minor != 0);
        own.map(|((_, code), minor)| (*code, *minor)).collect()
    }

    /// What the platform has, without empty accounts.
    pub(super) fn shown_platform(&self) -> BTreeMap<&'static str, i64> {
        let own = self.has.iter().filter(|((owner, _), minor)| owner.is_none() && **minor != 0);
        own.map(|((_, code), minor)| (*code, *minor)).collect()
    }
}
