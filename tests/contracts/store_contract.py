"""What every store must do. A host runs it over its own store:

class TestOurStore(StoreContract):
    @pytest.fixture
    def world(self): ...  # see store_world.World
"""

from contracts.store_attempts import KeepsAttempts, SurvivesRaces
from contracts.store_events import AnnouncesChanges
from contracts.store_instances import ReadsInstances
from contracts.store_outcomes import HearsProviders, RecordsSends
from contracts.store_reading import ReadsFiles, ReadsMessages
from contracts.store_recording import RecordsOutcomes, RecordsRaces


class StoreContract(
    *(ReadsMessages, ReadsFiles, ReadsInstances, KeepsAttempts, SurvivesRaces, RecordsOutcomes, RecordsRaces),
    *(RecordsSends, HearsProviders, AnnouncesChanges),
):
    """All of it."""
