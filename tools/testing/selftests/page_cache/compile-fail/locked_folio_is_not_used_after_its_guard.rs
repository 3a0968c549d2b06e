// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn index(folio: &Folio) {
    let guard = folio.lock();
    let locked: &Locked = &guard;
    locked.index();
    drop(guard); //~ error[E0505]
    locked.index();
}
