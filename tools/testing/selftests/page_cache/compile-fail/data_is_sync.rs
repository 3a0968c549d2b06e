// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = KBox<core::cell::Cell<u8>>; //~ error[E0277] instead of: type Data = KBox<u8>;
}
