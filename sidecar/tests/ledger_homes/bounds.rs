//! What is kept, and what goes.

use std::sync::Arc;
use std::time::Duration;

use lockgate::ledger::{
    Ask, Cursor, DeliveryAsk, Ledger, LedgerError, PromotionFilter, Retention, Write, Writes,
};
use lockgate::view::Entry;
use lockgate_core::promotion::{Change, DoneDetail, Promotion, Success};

use crate::{Home, at, digest, homes, id, promotion};

const FEW: Retention = Retention { promotions: 3, age: Duration::from_secs(1000) };

/// A promotion that was carried out at once.
async fn done(home: &Home, number: u16, pipeline: &str, seconds: i64) -> Arc<Promotion> {
    clock(home, seconds).await;
    let made = home.start(promotion(number, pipeline, &format!("1.{number}.0"))).await;
    home.change(&made, Change::Attempted { owner: Default::default() }, seconds, "").await;
    let detail = Change::Succeeded(Success::Done(DoneDetail::default()));
    home.change(&made, detail, seconds, "").await.unwrap().1
}

/// A delivery tells what time it is.
async fn clock(home: &Home, seconds: i64) {
    let ask = Ask {
        delivery: Some(DeliveryAsk {
            endpoint: "team/z/dev".parse().unwrap(),
            digest: digest(0),
            key: None,
            now: at(seconds),
        }),
        ..Ask::promotions(&"team/z".parse().unwrap(), Vec::new())
    };
    home.ledger.decide(ask, |_| (Writes::soon(), ())).await.unwrap();
}

async fn kept(ledger: &Arc<dyn Ledger>, pipeline: &str) -> usize {
    let filter = PromotionFilter {
        pipeline: Some(pipeline.to_owned()),
        limit: Some(500),
        ..PromotionFilter::default()
    };
    ledger.promotions(filter).await.unwrap().items.len()
}

#[tokio::test]
async fn a_destination_keeps_its_last_finished_promotions_and_all_that_has_work() {
    for home in homes(FEW) {
        let open = home.start(promotion(1, "team/a", "1.1.0")).await;
        done(&home, 100, "team/b", 0).await;
        for number in 2..12 {
            done(&home, number, "team/a", 1).await;
        }
        // The last commit prunes what came before it.
        home.start(promotion(12, "team/a", "1.12.0")).await;
        assert_eq!(kept(&home.ledger, "a").await, 5, "{}: 3 finished, 2 with work", home.name);
        assert!(home.ledger.promotion(open.id).await.unwrap().is_some(), "{}", home.name);
        assert!(home.ledger.promotion(id(2)).await.unwrap().is_none(), "{}", home.name);
        assert_eq!(kept(&home.ledger, "b").await, 1, "{}: another destination", home.name);
    }
}

#[tokio::test]
async fn the_event_stream_keeps_the_last_thousand_and_says_what_is_gone() {
    for home in homes(FEW) {
        let known = promotion(1, "team/a", "1.0.0");
        let mut writes = Writes::now();
        for number in 0..1100 {
            writes.add(Write::Entry(Entry::of(&known, at(number), "Promote", "again")));
        }
        home.write(writes).await;
        let events = home.ledger.events(None, 5000).await.unwrap();
        assert_eq!(events.len(), 1000, "{}", home.name);
        assert_eq!(events[0].1.time, at(100), "{}: the oldest went", home.name);
        let too_old = home.ledger.events(Some(Cursor::from_client("7")), 10).await;
        assert!(matches!(too_old, Err(LedgerError::CursorGone)), "{}", home.name);
        let just_so = home.ledger.events(Some(Cursor::from_client("100")), 5000).await.unwrap();
        assert_eq!(just_so.len(), 1000, "{}: nothing was missed", home.name);
    }
}
