// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization
import Testing

@testable import KernelCompiler

/// Cores that launches share.
@Suite struct CoreBudgetTests {
    @Test func hasAsManyCoresAsItWasMadeWith() {
        let budget = CoreBudget(cores: 2)
        budget.take()
        #expect(budget.tryTake())
        #expect(!budget.tryTake())
        budget.give()
        #expect(budget.tryTake())
    }

    @Test func whoTakesWaitsUntilOneIsGiven() {
        let budget = CoreBudget(cores: 1)
        budget.take()
        var thread = pthread_t()
        final class Waiter: Sendable {
            let budget: CoreBudget
            let hasTaken = Atomic<Bool>(false)
            init(_ budget: CoreBudget) { self.budget = budget }
        }
        let waiter = Waiter(budget)
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let waiter = Unmanaged<Waiter>.fromOpaque(argument).takeUnretainedValue()
                waiter.budget.take()
                waiter.hasTaken.store(true, ordering: .releasing)
                return nil
            }, Unmanaged.passUnretained(waiter).toOpaque())
        usleep(20_000)
        let isTooEarly = waiter.hasTaken.load(ordering: .acquiring)
        #expect(!isTooEarly)
        budget.give()
        pthread_join(thread, nil)
        let hasTaken = waiter.hasTaken.load(ordering: .acquiring)
        #expect(hasTaken)
    }
}
